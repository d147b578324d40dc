"""Fetch Apache Kafka and Kafka Connect now, so that no test has to wait for them."""

from tests.servers import kafka_jars
from tests.servers.kafka_connect import connect_jars

kafka_jars()
connect_jars()
