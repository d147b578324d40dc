"""Measurements: each prints ratios of one run, and none is a test."""
