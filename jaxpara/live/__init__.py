"""Predictions while a recording is still going on."""
