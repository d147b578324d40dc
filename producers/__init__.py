"""What goes out to Kafka: segment changes as the service decides them, history from files.

`messages` makes the records, `publisher` puts each round into a transaction, by steps 5 to 8 of
docs/architecture.md, in a process of its own (`publishing_process`); `replay` sends what `files`
reads.
"""
