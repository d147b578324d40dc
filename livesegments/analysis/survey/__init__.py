"""Survey of a deployment: its customers and purchases as tables of DuckDB, for what topics lack.

`customers` scans the store, `purchases` reads the topic; both once, in batches. `departures`
forecasts departures from a segment. Everything else about customers is a query of the tables.
"""
