"""A live view of a running deployment, from its topics and its store; it only looks.

`looks` read, each in a thread of its own (`background`), and `moves` adds the changes up;
`snapshot` is all of it at one moment, which `view` draws and `plain` writes as lines.
"""
