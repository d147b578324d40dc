"""A survey of a whole deployment."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from livesegments.analysis.survey.context import DeploymentContext, ReportError
from livesegments.analysis.survey.customers import CUSTOMERS, CustomerSurvey
from livesegments.analysis.survey.purchases import PURCHASES, Arrivals, survey_purchases
from livesegments.config.clients import kafka_config
from livesegments.config.settings import Settings
from livesegments.consumers.log_reader import LogReader
from livesegments.history.database import History
from livesegments.model.vectors import Counts
from livesegments.operations.customer_scan import scan, settled
from livesegments.operations.implausible_ids import ImplausibleId
from livesegments.store.deployment import Deployment
from livesegments.store.partitions import Partitions

_NEXT = {CUSTOMERS: "next_surveyed_customers", PURCHASES: "next_surveyed_purchases"}
"""Tables of a survey under way."""

Counting = Callable[[str], AbstractContextManager[Callable[[int], None]]]


@dataclass(frozen=True, slots=True)
class Survey:
    """Sums of a survey, whose rows are in the tables.

    Attributes
    ----------
    generation
        Of the model.
    clock_us
        Latest clock of the partitions.
    unknown
        Feature -> share of the customers in a segment without it.
    binned
        Distribution of each feature over them, in the bins of the fit; empty without bins.
    implausible_ids
        Ids that no person can have; those that may be people's are hashed.
    arrivals
        Purchases that arrived since the window began.
    began_s
        When it was made, epoch seconds.
    """

    generation: int
    clock_us: int
    unknown: dict[str, float]
    binned: list[Counts]
    implausible_ids: list[ImplausibleId]
    arrivals: Arrivals
    began_s: float


def latest_clock(store: Partitions, deployment: Deployment) -> int:
    """Return the latest clock of the partitions.

    Raises
    ------
    ReportError
        If the store is empty.
    UnsettledError
        If a recovery is under way.
    """
    found = settled(store, deployment)
    if not found:
        raise ReportError(
            f"group {store.group_id!r} has nothing in the store: it was emptied or lost;"
            " a worker rebuilds it (livesegments run)"
        )
    return max(progress.clock_us for progress in found)


def survey(
    settings: Settings,
    context: DeploymentContext,
    store: Partitions,
    history: History,
    days: int,
    counting: Counting = lambda _: nullcontext(lambda _: None),
) -> Survey:
    """Scan the customers and read the purchases of the window; replace their tables.

    Departures from the most valuable segment are forecast for ``days``. Raises as `latest_clock`.
    """
    began_s, clock_us = time.time(), latest_clock(store, context.deployment)
    with history.cursor() as cursor:
        with counting("reading customers") as show:
            customers = CustomerSurvey(cursor, _NEXT[CUSTOMERS], context, days)
            for batch in scan(store, context.deployment):
                customers.add(batch)
                show(customers.customers)
        with counting("reading purchases") as show, LogReader(kafka_config(settings)) as log:
            arrivals = survey_purchases(
                cursor, _NEXT[PURCHASES], _NEXT[CUSTOMERS], context, store, log, show
            )
    with history.transaction() as cursor:
        for table, unfinished in _NEXT.items():
            cursor.execute(f"DROP TABLE IF EXISTS {table}")
            cursor.execute(f"ALTER TABLE {unfinished} RENAME TO {table}")
    unknown = customers.unknown / max(customers.in_segments, 1)
    return Survey(
        context.model.generation.number,
        clock_us,
        dict(zip(context.rules.segmentation.feature_names, unknown.round(4).tolist(), strict=True)),
        customers.binned,
        customers.implausible_ids(),
        arrivals,
        began_s,
    )
