"""Independent verification of the service's guarantees.

It shares no code with the service beyond the contracts: it has its own readers of the log and of
the store's bytes, and its own arithmetic.
"""

from livesegments.operations.verify.report import Check, Report
from livesegments.operations.verify.run import verify

__all__ = ["Check", "Report", "verify"]
