"""Trained systems on new audio: predict files, follow a live stream, export."""
