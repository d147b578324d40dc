"""Check from the outside that what the service promises is true.

Shares no code with what it checks, beyond the contracts: it has its own reading of the log and of
the store's bytes, and its own arithmetic.
"""

from livesegments.operations.verify.report import Check, Report
from livesegments.operations.verify.run import verify

__all__ = ["Check", "Report", "verify"]
