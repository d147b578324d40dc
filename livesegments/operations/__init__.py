"""What an operator runs against a deployment: doctor, verify, rebuild, export, topics, refit."""
