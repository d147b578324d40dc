"""Real servers for tests and benchmarks as child processes: Kafka, Redis, Prometheus and more."""

from tests.servers.kafka_server import KafkaServer, fresh_topics, kafka_jars
from tests.servers.prometheus_server import PrometheusServer
from tests.servers.proxy import Proxy
from tests.servers.redis_cluster import RedisCluster
from tests.servers.redis_sentinel import RedisSentinels
from tests.servers.redis_server import RedisServer
from tests.servers.registry_server import RegistryServer, registry_folder

__all__ = [
    "KafkaServer",
    "PrometheusServer",
    "Proxy",
    "RedisCluster",
    "RedisSentinels",
    "RedisServer",
    "RegistryServer",
    "fresh_topics",
    "kafka_jars",
    "registry_folder",
]
