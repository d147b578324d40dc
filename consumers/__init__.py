"""Worker: consumption, micro-batch processing, recovery and model updates.

Start with `worker`, the consume-process-commit-publish loop. `polling` and `decoding` read a
micro-batch; `processor` runs its stages without I/O: those of `aggregation`, `scoring` and
`transitions`, and the commit. `in_flight` tracks the publications that are not confirmed yet, and
`idle` looks after partitions without traffic. On reassignment, `recovery.ownership` decides what to
do, `recovery.reconciliation` does it, and `recovery.replay` rebuilds a lost store from what
`recovery.changelog_reader` reads. `modelling` fits, refits and synchronizes the model.
"""
