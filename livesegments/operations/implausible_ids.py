"""Customer ids that no person can have: placeholders, guests, and ids with too many purchases.

Purchases without a customer often come with the same made-up id, which then is the best customer,
moves the centroids, and no campaign reaches it. The rule: an id of at least 20 purchases is named
if it has 1 % of all purchases and 20 times the mean of a customer, or if it is a placeholder (such
as ``0``, ``NULL``, ``guest``) and has 3 times the mean.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

LEAST_PURCHASES = 20
LEAST_SHARE = 0.01
TIMES_THE_MEAN = 20
TIMES_THE_MEAN_OF_A_PLACEHOLDER = 3
SHOWN = 3

ADVICE = (
    "purchases of guests need an id each, or must not be sent; leave such ids out before they are"
    " sent (a source's query, or --query of a file)"
)

_PLACEHOLDERS = frozenset(
    [
        *("null", "none", "nil", "nan", "na", "undefined", "unknown", "unspecified", "notset"),
        *("notavailable", "missing", "empty", "blank", "default", "dummy", "fake", "nobody"),
        *("guest", "guests", "guestuser", "guestcustomer", "guestcheckout", "visitor", "anon"),
        *("anonymous", "anonymoususer", "anonymouscustomer", "unregistered", "notloggedin"),
        *("walkin", "walkincustomer", "cash", "cashcustomer", "test", "testuser", "testcustomer"),
    ]
)
"""Letters and digits of what programs write for no customer."""
_NO_ID = re.compile(r"[-+]?0+|-1|9{4,}|x+|0{8}-0{4}-0{4}-0{4}-0{12}")


@dataclass(frozen=True, slots=True)
class ImplausibleId:
    """An id with an implausible share of purchases."""

    customer_id: str
    purchases: int
    share: float
    is_placeholder: bool

    def __str__(self) -> str:
        kind = ", a placeholder," if self.is_placeholder else ""
        return f"{self.customer_id!r}{kind} has {self.share:.1%} of the purchases"


class PurchaseCounts:
    """Purchases by customer, of which only those with the most are kept.

    ``customers`` and ``purchases`` are the numbers of all customers with one, and of all purchases.
    """

    MOST = 1_000

    def __init__(self) -> None:
        self.customers = self.purchases = 0
        self._most: Counter[str] = Counter()

    def add(self, counts: Mapping[str, int]) -> None:
        """Add customers, each once, with their number of purchases."""
        self.customers += sum(n > 0 for n in counts.values())
        self.purchases += sum(counts.values())
        self._most.update({name: n for name, n in counts.items() if n >= LEAST_PURCHASES})
        if len(self._most) > 2 * self.MOST:
            self._most = Counter(dict(self._most.most_common(self.MOST)))

    def implausible(self) -> list[ImplausibleId]:
        """Return the ids that no person can have, those with the most purchases first."""
        mean = self.purchases / max(self.customers, 1)
        found = []
        for name, purchases in self._most.most_common():
            share, placeholder = purchases / self.purchases, is_placeholder(name)
            if (share >= LEAST_SHARE and purchases >= TIMES_THE_MEAN * mean) or (
                placeholder and purchases >= TIMES_THE_MEAN_OF_A_PLACEHOLDER * mean
            ):
                found.append(ImplausibleId(name, purchases, share, placeholder))
        return found


def implausible_ids(purchases: Mapping[str, int]) -> list[ImplausibleId]:
    """Return the ids that no person can have, from the number of purchases of each."""
    counts = PurchaseCounts()
    counts.add(purchases)
    return counts.implausible()


def is_placeholder(customer_id: str) -> bool:
    """Return whether an id is what programs write for no customer."""
    text = customer_id.casefold()
    return re.sub(r"[\W_]", "", text) in _PLACEHOLDERS or _NO_ID.fullmatch(text) is not None


def told(found: list[ImplausibleId]) -> str:
    """Return the first of them in words."""
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return "; ".join(map(str, found[:SHOWN])) + more
