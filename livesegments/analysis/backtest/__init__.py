"""Try settings on a history before going live: the service's own decisions, without servers."""
