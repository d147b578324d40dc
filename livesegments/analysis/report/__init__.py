"""What marketing wants to know of a running service: as a page, as JSON, and as lists.

Customers are walked over once and the change log and the purchases are read once, all in batches:
what is kept of them are sums, and of single customers only those that are shown.
"""
