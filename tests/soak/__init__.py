"""Two workers under load that are killed, stopped and cut off from their servers, for a long time.

``python -m tests.soak`` runs Apache Kafka and Redis of its own, injects faults in an order drawn
from a seed, verifies all guarantees at intervals and at the end, and exits 1 when one is violated.
"""

from tests.soak.soak import SETTINGS, Soak
from tests.soak.tally import Plan, Tally

__all__ = ["SETTINGS", "Plan", "Soak", "Tally"]
