"""A trained system in one folder that needs nothing else: to keep, to hand on, to publish."""
