"""Partition state in Redis; the only package that talks to Redis.

`partitions` is the entry point: it reads and commits partitions, one round trip each. `commit.lua`
is the atomic commit script. `checkpoint` and `outbox` define the data stored alongside the records,
`keys` the key names, and `cluster_pipeline` finds the server of a key.
"""
