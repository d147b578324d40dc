"""What travels on the wire: topics, events, their validation, and the headers around them.

Imports nothing of ours. `events` (in) and `segments` (out) are the contract; `decode` reads whole
batches, `quick` those beyond doubt and `validation` the rest, and `dead_letters` is where the
others go. `asyncapi` writes the contract for machines from these models.
"""
