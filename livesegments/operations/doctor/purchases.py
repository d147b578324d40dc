"""The doctor's look at the customers and the amounts of a sample of purchases."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from kafka.consumer.fetcher import ConsumerRecord
from numpy.typing import NDArray

from livesegments.config.settings import PREFIX, Settings
from livesegments.contracts.decode import Purchases, decode_purchases
from livesegments.operations.doctor.finding import Finding, ok, warn
from livesegments.operations.implausible_ids import ADVICE, implausible_ids, told

LEAST_SAMPLED = 100
LEAST_MINOR = 50_000
"""Median, in cents, from which whole amounts may be amounts in cents."""
LEAST_ENDINGS = 25
"""Of 100; prices end in a few, such as 00, 50, 95 and 99."""
WHOLE_CURRENCIES = frozenset(
    "BIF CLP DJF GNF HUF IDR ISK JPY KMF KRW PYG RWF TWD UGX VND VUV XAF XOF XPF".split()  # noqa: SIM905
)
"""Currencies without cents, or with cents that are not in use."""


def decoded(settings: Settings, records: Sequence[ConsumerRecord]) -> Purchases:
    """Return the valid purchases of a sample."""
    return decode_purchases(
        [record.key for record in records],
        [record.value for record in records],
        [0] * len(records),
        currency=settings.currency,
    )[0]


def look_at_purchases(settings: Settings, found: Purchases) -> Iterator[Finding]:
    """Name ids that no person can have, and amounts that seem to be in minor units."""
    bought = found.count > 0
    if np.count_nonzero(bought) < LEAST_SAMPLED:
        return
    found = found.where(bought)
    if implausible := implausible_ids(Counter(found.customer_id)):
        yield warn("customer ids", f"{told(implausible)} sampled", ADVICE)
    else:
        yield ok("customer ids", "no id has an implausible share of purchases")
    if settings.currency not in WHOLE_CURRENCIES and are_minor_units(found.cents):
        yield warn(
            "amounts",
            f"every amount of {len(found.row):,} purchases sampled is a whole number, half of them"
            f" {np.median(found.cents) / 100:,.0f} {settings.currency} or more",
            "if they are cents, send amounts in the currency's unit, like 54.66"
            f" ({PREFIX}CURRENCY={settings.currency})",
        )


def are_minor_units(cents: NDArray[np.int64]) -> bool:
    """Return whether amounts (n,) look like cents that were sent as whole units.

    All are whole and large, and their last two digits are as various as those of cents.
    """
    whole, fraction = np.divmod(cents, 100)
    endings = np.unique(whole % 100)
    return bool(
        not fraction.any() and np.median(cents) >= LEAST_MINOR and len(endings) >= LEAST_ENDINGS
    )
