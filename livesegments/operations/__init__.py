"""Operator commands for a deployment: doctor, verify, rebuild, export, subscribe, topics, refit."""
