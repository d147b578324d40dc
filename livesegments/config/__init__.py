"""Settings, and the connections that they configure."""
