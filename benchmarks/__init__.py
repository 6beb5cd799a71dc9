"""Measurements; the docstring of each script shows how to run it."""
