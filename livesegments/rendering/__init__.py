"""Text formats, plots, page templates and progress bars shared by the tools."""
