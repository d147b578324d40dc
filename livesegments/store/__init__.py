"""The only code that talks to Redis: partition state, read and committed in one round trip each.

`partitions` is the way in; `commit.lua` is what a commit does, all or nothing. `progress` and
`outbox` are what it keeps beside records, `keys` where, and `servers` which server that is on.
"""
