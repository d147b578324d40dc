"""Settings, and the connections they describe."""
