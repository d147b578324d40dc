"""Benchmarks: each prints ratios measured within one run; none of them is a test."""
