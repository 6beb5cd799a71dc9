"""Experiments as documents: pure data, one file each."""
