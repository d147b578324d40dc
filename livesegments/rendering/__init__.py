"""HTML pages that need nothing beside themselves: frame, tables and plots; no script."""
