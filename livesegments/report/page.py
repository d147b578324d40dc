"""A report as one page that needs nothing beside itself."""

from livesegments.report.figures import Report


def page(found: Report) -> str:
    """Return the page."""
    return ""
