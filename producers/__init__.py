"""Producers: segment changes decided by the service, and history from files.

`serializers` builds the records. `publisher` publishes each micro-batch in a transaction, following
steps 5 to 8 of docs/architecture.md, in a separate process (`publishing_process`). `replay` sends
events of files.
"""
