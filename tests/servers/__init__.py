"""Real servers for tests and benchmarks: Apache Kafka, Redis and Prometheus as child processes."""

from tests.servers.kafka_server import KafkaServer, fresh_topics, kafka_jars
from tests.servers.prometheus_server import PrometheusServer
from tests.servers.proxy import Proxy
from tests.servers.redis_cluster import RedisCluster
from tests.servers.redis_sentinel import RedisSentinels
from tests.servers.redis_server import RedisServer

__all__ = [
    "KafkaServer",
    "PrometheusServer",
    "Proxy",
    "RedisCluster",
    "RedisSentinels",
    "RedisServer",
    "fresh_topics",
    "kafka_jars",
]
