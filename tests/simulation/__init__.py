"""Deterministic fault simulation of the service's own code.

Real workers (`livesegments.consumers.worker.Worker` and its parts) run against Kafka and Redis in
memory, one at a time, scheduled by a seed. Between any two calls they crash, freeze and resume, are
disconnected, or lose the store, the group's offsets or an answer. Then all faults end, and
`livesegments.operations.verify` checks the output. A run is a function of its seed.

| file | contents |
|---|---|
| `logs.py`, `cluster.py` | Kafka: logs, transactions, the group |
| `kafka_consumer.py`, `kafka_producer.py` | KafkaConsumer and KafkaProducer |
| `database.py` | Redis |
| `edges.py` | points where a worker can be stopped and calls fail |
| `inputs.py` | events |
| `harness.py` | workers in one world, advanced step by step |
| `breakage.py` | faults |
| `chaos.py` | a run: the seed's schedule of steps and faults, then recovery |
| `invariants.py` | invariants of the final state |
| `scenario_helpers.py`, `scenarios.py` | schedules that need one protection each |
| `mutations.py` | the code without that protection |

`python -m tests.simulation --runs 5000` runs more seeds than the tests do.
"""
