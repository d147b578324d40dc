"""Real servers for tests and benchmarks: Apache Kafka and Redis as child processes."""

from tests.servers.kafka_server import KafkaServer, fresh_topics, kafka_jars
from tests.servers.redis_server import RedisServer

__all__ = ["KafkaServer", "RedisServer", "fresh_topics", "kafka_jars"]
