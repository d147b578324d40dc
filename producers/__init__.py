"""What goes out to Kafka: segment changes as the service decides them, history from files."""
