"""Settings, and the connections that they configure."""

PREFIX = "LIVESEGMENTS_"
"""First part of the names of all settings in the environment."""
