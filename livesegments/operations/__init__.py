"""Operator commands for a deployment: doctor, verify, rebuild, export, topics, refit."""
