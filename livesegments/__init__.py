"""Livesegments: keeps every customer in the right marketing segment, seconds after the purchase."""

__version__ = "0.1.0"
