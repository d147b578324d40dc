"""Pages about a deployment, one module each: queries of its history and its survey.

`report` puts them into one self-contained file; `livesegments serve` serves them one by one.
Their templates are in this folder.
"""
