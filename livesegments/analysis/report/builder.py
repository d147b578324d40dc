"""Report built from the store and the topics."""

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from livesegments.analysis.drift import drift_since_fit
from livesegments.analysis.report.category_sets import PurchasedCategories
from livesegments.analysis.report.changes import PeriodChanges, read_changes
from livesegments.analysis.report.churn import ChurnTracker
from livesegments.analysis.report.context import ReportContext, ReportError, expected, load_context
from livesegments.analysis.report.customers import CustomerTotals, dates
from livesegments.analysis.report.lists import CustomerLists
from livesegments.analysis.report.purchases import PurchaseStats
from livesegments.analysis.segments import describe
from livesegments.config.clients import kafka_config, redis_client
from livesegments.config.settings import Settings
from livesegments.consumers.log_reader import LogReader
from livesegments.contracts.timestamps import rfc3339
from livesegments.features.window import DAY_US
from livesegments.model.drift import psi
from livesegments.operations.customer_scan import scan, settled
from livesegments.operations.dead_letters import Selection, letters
from livesegments.rendering.formats import known, named
from livesegments.rendering.progress import counting
from livesegments.store.partitions import Partitions

Report = dict[str, Any]
"""Plain data for the page and for scripts. Segments are named by id, ``none`` for no segment.

``clock``
    Latest clock of the partitions; the period ends with its day.
``customers``
    In a segment.
``segments``
    See `livesegments.analysis.segments.Segment`, by falling spend.
``places``, ``expected``
    Segment -> feature -> position of its centroid and of its persona, in standard deviations from
    the average customer; position of the persona in natural units.
``days``, ``sizes``, ``moves``
    Days of the period since the first assignment; sizes of each segment at their end; moves out of
    a segment by origin.
``transitions``
    From segment -> to segment -> changes in the period.
``targets``, ``typical``
    See `CustomerTotals`.
``retention``
    See `ChurnTracker`.
``categories``
    See `PurchaseStats`; the lift is None where fewer than 5 purchases would be expected.
``drift``
    Since the fit of the generation: the shift of each centroid, standard deviations per feature;
    the population stability index of the sizes and of each feature, each with its noise level.
``quality``
    Share of the customers in a segment without a feature; purchases, see `PurchaseStats`; reason of
    dead letters -> records on the topic, number of them replayed; ids that no person can have, by
    their hash unless they are placeholders (`livesegments.operations.implausible_ids`).
"""


def build_report(
    settings: Settings, days: int, lists: Path | None = None
) -> tuple[Report, dict[str, int]]:
    """Return the report on a deployment, and the number of customers per list.

    Parameters
    ----------
    settings
        Of the deployment.
    days
        Length of the period in event time, up to the latest clock of the partitions; and the
        horizon for departures from the most valuable segment.
    lists
        Folder for lists of customers by their real ids; None: no lists.

    Raises
    ------
    NoModelError
        If no worker has ever run, or there is no model yet.
    ReportError
        If the store is empty, or the settings name other segments.
    UnsettledError
        If a recovery is under way.
    """
    context = load_context(settings, Partitions(redis_client(settings), settings.group_id))
    config = kafka_config(settings)
    clock_us = _clock(context)
    last = clock_us // DAY_US
    bought = PurchasedCategories() if lists else None
    purchases = PurchaseStats(context, bought)
    with LogReader(config) as log:
        with counting("reading changes") as show:
            changes = read_changes(log, context, range(last - days + 1, last + 1), show)
        with counting("reading purchases") as show:
            purchases.read(log, show)
    customers, churn = CustomerTotals(context), ChurnTracker(context, changes.left, days)
    written: dict[str, int] = {}
    with counting("reading customers") as show, ExitStack() as stack:
        out = None
        if lists and bought:
            lift = purchases.lift()
            out = stack.enter_context(CustomerLists(lists, context, purchases.names, lift, bought))
            written = out.written
        total = 0
        for batch in scan(context.store, context.deployment):
            customers.add(batch)
            churned = churn.add(batch)
            if out:
                out.add(batch, *churned)
            total += len(batch.names)
            show(total)
    with counting("reading dead letters") as show:
        rejected = _dead_letters(config, show)
    period = changes.counts.since_first(changes.days, customers.sizes)
    return _report(
        context, clock_us, period, changes, purchases, customers, churn, rejected
    ), written


def _clock(context: ReportContext) -> int:
    found = settled(context.store, context.deployment)
    if not found:
        raise ReportError(
            f"group {context.rules.group_id!r} has nothing in the store: it was emptied or lost;"
            " a worker rebuilds it (livesegments run)"
        )
    return max(progress.clock_us for progress in found)


def _report(
    context: ReportContext,
    clock_us: int,
    period: range,
    changes: PeriodChanges,
    purchases: PurchaseStats,
    customers: CustomerTotals,
    churn: ChurnTracker,
    rejected: dict[str, tuple[int, int]],
) -> Report:
    rules, ids = context.rules, context.rules.segment_ids
    features = rules.segmentation.feature_names
    sizes = dict(zip(ids, customers.sizes, strict=True))
    segments = describe(context.model, rules.segmentation, sizes)
    order = [ids.index(each["id"]) for each in segments]
    places = expected(rules.segmentation, context.model.snapshot)
    return {
        "group": rules.group_id,
        "clock": rfc3339([clock_us])[0],
        "window_days": context.deployment.window_days,
        "currency": rules.currency,
        "customers": sum(customers.sizes),
        "segments": segments,
        "places": _places(context),
        "expected": {each: named(features, row) for each, row in zip(ids, places, strict=True)},
        "days": dates([day * DAY_US for day in period]),
        "sizes": changes.counts.sizes(period, customers.sizes),
        "moves": changes.counts.by_day(period),
        "transitions": changes.counts.transitions(),
        "targets": customers.targets(order),
        "retention": churn.retention(),
        "categories": purchases.categories(order),
        "typical": customers.typical(order),
        "drift": _drift(context, customers),
        "quality": {
            "unknown": {
                name: round(count / max(sum(customers.sizes), 1), 4)
                for name, count in zip(features, customers.unknown.tolist(), strict=True)
            },
            "purchases": purchases.arrived,
            "duplicates": purchases.duplicates if context.deployment.dedup_events else None,
            "late": purchases.late,
            "dead_letters": rejected,
            "behind": purchases.behind,
            "implausible_ids": customers.implausible_ids(),
        },
    }


def _places(context: ReportContext) -> dict[str, dict[str, tuple[float | None, float]]]:
    generation, statistics = context.model.generation, context.statistics
    features = context.rules.segmentation.feature_names
    now = generation.centroids if statistics is None else statistics.centroids()
    stands = dict(zip(generation.segments, context.model.snapshot.zscores(now), strict=True))
    return {
        segment.id: {
            name: (z, expected_z)
            for (name, z), expected_z in zip(
                named(features, stands[segment.id], 3).items(), segment.position, strict=True
            )
        }
        for segment in context.rules.segmentation.segments
    }


def _drift(context: ReportContext, customers: CustomerTotals) -> dict[str, Any]:
    generation = context.model.generation
    found = drift_since_fit(generation, context.statistics)
    features = context.rules.segmentation.feature_names
    bins = zip(features, generation.histograms, customers.binned, strict=False)
    return {
        "generation": generation.number,
        "provisional": generation.provisional,
        "fitted_on": sum(generation.sizes),
        "shift": named(generation.segments, found.shift),
        "explained_variance": known(found.explained_variance),
        "share_psi": (known(found.share_psi), known(found.share_psi_critical)),
        "feature_psi": {
            name: (
                known(psi(np.array(fit.counts), counts)),
                known(fit.psi_critical_value(int(counts.sum()))),
            )
            for name, fit, counts in bins
        },
    }


def _dead_letters(
    config: dict[str, Any], show: Callable[[int], None]
) -> dict[str, tuple[int, int]]:
    found: Counter[str] = Counter()
    replayed: Counter[str] = Counter()
    for letter in letters(config, Selection()):
        found[letter.origin.reason] += 1
        replayed[letter.origin.reason] += letter.replayed_at is not None
        show(found.total())
    return {reason: (count, replayed[reason]) for reason, count in found.most_common()}
