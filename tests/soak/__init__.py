"""Two workers under load that are killed, stopped and robbed of their servers, for a long time.

``python -m tests.soak`` runs Apache Kafka and Redis of its own, breaks things in an order drawn
from a seed, holds everything against its promises every so often and at the end, and exits 1 when
one is broken.
"""

from tests.soak.soak import SETTINGS, Soak
from tests.soak.tally import Plan, Tally

__all__ = ["SETTINGS", "Plan", "Soak", "Tally"]
