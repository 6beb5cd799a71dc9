"""Breathing system 2, an alias of configs/breathing_e2e.py."""

from configs.breathing_e2e import get_config

__all__ = ["get_config"]
