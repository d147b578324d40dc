"""Report on a running service for marketing: as a page, as JSON, and as lists of customers.

Store, change log and purchases are read once, in batches. Memory holds sums, and of single
customers only those shown.
"""
