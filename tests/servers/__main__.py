"""Fetch Apache Kafka, Kafka Connect and a schema registry now, so that no test waits for them."""

from tests.servers import kafka_jars, registry_folder
from tests.servers.kafka_connect import connect_jars
from tests.servers.kafka_server import archive_classes

kafka_jars()
archive_classes()
connect_jars()
registry_folder()
