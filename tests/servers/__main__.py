"""Fetch Apache Kafka now, so that no test has to wait for it."""

from tests.servers import kafka_jars

kafka_jars()
