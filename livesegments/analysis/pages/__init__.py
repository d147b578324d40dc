"""Pages about a deployment, one module each: queries of its history and its survey.

`report` puts them into one self-contained file; `site` renders them one by one for
`livesegments serve`, with the `contents` of each.
Their templates are in this folder.
"""
