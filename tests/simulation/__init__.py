"""The service's own code in a world where everything that can go wrong does, again and again.

Real workers (`livesegments.consumers.worker.Worker` and its parts) run against Kafka and Redis in
memory, one at a time, as a seed says; they crash, freeze and wake up, are cut off, lose the store,
the group's offsets or an answer, between any two calls they make. Then the world heals, and
`livesegments.operations.verify` judges what came out. A run is a function of its seed.

| file | what |
|---|---|
| `logs.py`, `cluster.py` | Kafka: logs, transactions, the group |
| `kafka_consumer.py`, `kafka_producer.py` | KafkaConsumer and KafkaProducer |
| `database.py` | Redis |
| `edges.py` | where a worker can be stopped, and calls fail |
| `inputs.py` | events |
| `world.py` | workers in one world, stepped by hand |
| `breakage.py` | what breaks |
| `chaos.py` | a run: the seed's schedule of steps and faults, then healing |
| `judge.py` | what must hold in the end |
| `by_hand.py`, `plans.py` | schedules that need one protection each |
| `mutations.py` | the code without it |

`python -m tests.simulation --runs 5000` runs more of them than the tests do.
"""
