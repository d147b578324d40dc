"""Report built from the store and the topics."""

from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from livesegments.analysis.drift import drift_since_fit, known
from livesegments.analysis.report.aggregates import CustomerAggregates
from livesegments.analysis.report.audience_export import AudienceExport, CrossSellOffers
from livesegments.analysis.report.category_sets import PurchasedCategories
from livesegments.analysis.report.category_stats import LEAST_EXPECTED, CategoryStats
from livesegments.analysis.report.churn import ChurnTracker
from livesegments.analysis.report.context import ReportContext, ReportError, expected, load_context
from livesegments.analysis.report.customer_rows import dates
from livesegments.analysis.report.models import NONE, Categories, Drift, Quality, Report, Target
from livesegments.analysis.report.transitions import Period, Transitions, read_transitions
from livesegments.analysis.segments import describe
from livesegments.config.clients import kafka_config, redis_client
from livesegments.config.settings import Settings
from livesegments.consumers.log_reader import LogReader
from livesegments.contracts.timestamps import rfc3339
from livesegments.features.feature_specs import FEATURES
from livesegments.features.window import DAY_US
from livesegments.model.drift import psi
from livesegments.model.types import Floats
from livesegments.operations.customer_scan import scan, settled
from livesegments.operations.dead_letters import Selection, letters
from livesegments.rendering.progress import counting
from livesegments.store.partitions import Partitions


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
    ReportError
        If no worker has ever run, there is no model yet, or the store is empty.
    UnsettledError
        If a recovery is under way.
    """
    context = load_context(settings, Partitions(redis_client(settings), settings.group_id))
    config = kafka_config(settings)
    clock_us = _clock(context)
    period = Period.up_to(clock_us, days)
    bought = PurchasedCategories() if lists else None
    categories = CategoryStats(context, bought)
    with LogReader(config) as log:
        with counting("reading changes") as show:
            changes = read_transitions(log, context, period, show)
        with counting("reading purchases") as show:
            categories.read(log, show)
    aggregates, churn = CustomerAggregates(context), ChurnTracker(context, changes.left, days)
    written: dict[str, int] = {}
    with counting("reading customers") as show, ExitStack() as stack:
        out = None
        if lists and bought:
            offers = CrossSellOffers(categories.names, _likely(*categories.matrix()), bought)
            out = stack.enter_context(AudienceExport(lists, context, offers))
            written = out.written
        total = 0
        for stretch in scan(context.store, context.deployment):
            aggregates.add(stretch)
            churned = churn.add(stretch)
            if out:
                out.add(stretch, churned)
            total += len(stretch.names)
            show(total)
    with counting("reading dead letters") as show:
        rejected = _dead_letters(config, show)
    report = _report(context, clock_us, period, changes, categories, aggregates, churn, rejected)
    return report, written


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
    period: Period,
    changes: Transitions,
    categories: CategoryStats,
    aggregates: CustomerAggregates,
    churn: ChurnTracker,
    rejected: dict[str, tuple[int, int]],
) -> Report:
    rules, model = context.rules, context.model
    ids = rules.segment_ids
    sizes = changes.sizes(aggregates.customers[:-1])
    first = int(np.argmax(sizes.sum(axis=1) > 0))
    segments = describe(
        model,
        rules.personas,
        dict(zip(ids, aggregates.customers.tolist(), strict=False)),
    )
    order = [segment.id for segment in segments]
    persona = expected(rules.personas, model.snapshot)
    names = (*ids, NONE)
    flows = changes.flows.sum(axis=0)
    day_us = [(period.first + day) * DAY_US for day in range(first, period.days)]
    return Report(
        group=rules.group_id,
        clock=rfc3339([clock_us])[0],
        window_days=context.deployment.window_days,
        currency=rules.currency,
        customers=int(aggregates.customers[:-1].sum()),
        segments=segments,
        places=_places(context),
        expected={
            segment: _named(FEATURES, row) for segment, row in zip(ids, persona, strict=True)
        },
        days=tuple(dates(day_us)),
        sizes={ids[i]: tuple(sizes[first:, i].tolist()) for i in range(len(ids))},
        moves={
            origin: tuple(counts[first:].tolist())
            for origin, counts in sorted(changes.origins.items())
        },
        transitions={
            before: dict(zip(names, row.tolist(), strict=True))
            for before, row in zip(names, flows, strict=True)
        },
        targets=tuple(_target(aggregates, ids, ids.index(segment)) for segment in order),
        retention=churn.found(),
        categories=_categories(categories, order, ids),
        typical=tuple(
            member for segment in order for member in aggregates.typical[ids.index(segment)]
        ),
        drift=_drift(context, aggregates),
        quality=_quality(context, categories, aggregates, rejected),
    )


def _places(context: ReportContext) -> dict[str, dict[str, tuple[float | None, float]]]:
    generation, statistics, view = (
        context.model.generation,
        context.statistics,
        context.model.snapshot,
    )
    now = generation.centroids if statistics is None else statistics.centroids()
    stands = dict(zip(generation.segments, view.zscores(now), strict=True))
    return {
        persona.id: {
            feature: (known(z, 3), expected_z)
            for feature, z, expected_z in zip(
                FEATURES, stands[persona.id].tolist(), persona.position, strict=True
            )
        }
        for persona in context.rules.personas
    }


def _target(aggregates: CustomerAggregates, ids: tuple[str, ...], i: int) -> Target:
    refusing, consenting, unknown = aggregates.marketing[i].tolist()
    return Target(
        segment=ids[i],
        customers=int(aggregates.customers[i]),
        consenting=consenting,
        refusing=refusing,
        unknown=unknown,
        spend=int(aggregates.cents[i]) / 100,
        purchases=int(aggregates.purchases[i]),
        consenting_spend=int(aggregates.consenting_cents[i]) / 100,
    )


def _categories(categories: CategoryStats, order: list[str], ids: tuple[str, ...]) -> Categories:
    names = categories.names
    counts, cents = (
        categories.counts[:, 1 : len(names) + 1],
        categories.cents[:, 1 : len(names) + 1],
    )
    lift = _likely(*categories.matrix())
    rows = [ids.index(segment) for segment in order]
    ordered = np.argsort(-counts.sum(axis=0), kind="stable").tolist()
    return Categories(
        purchases=int(categories.counts.sum()),
        without=int(categories.counts[:, 0].sum()),
        rows={names[j]: {ids[i]: int(counts[i, j]) for i in rows} for j in ordered},
        spend={names[j]: {ids[i]: int(cents[i, j]) / 100 for i in rows} for j in ordered},
        lift={names[j]: {ids[i]: known(lift[i, j], 3) for i in rows} for j in ordered},
    )


def _likely(expected_purchases: Floats, lift: Floats) -> Floats:
    return np.where(expected_purchases >= LEAST_EXPECTED, lift, np.nan)


def _drift(context: ReportContext, aggregates: CustomerAggregates) -> Drift:
    generation = context.model.generation
    found = drift_since_fit(generation, context.statistics)
    bins = zip(FEATURES, generation.histograms, aggregates.binned, strict=False)
    return Drift(
        generation=generation.number,
        provisional=generation.provisional,
        fitted_on=sum(generation.sizes),
        shift=_named(generation.segments, found.shift),
        explained_variance=known(found.explained_variance),
        share_psi=(known(found.share_psi), known(found.share_psi_critical)),
        feature_psi={
            name: (
                known(psi(np.array(fit.counts), counts)),
                known(fit.psi_critical_value(int(counts.sum()))),
            )
            for name, fit, counts in bins
        },
    )


def _quality(
    context: ReportContext,
    categories: CategoryStats,
    aggregates: CustomerAggregates,
    rejected: dict[str, tuple[int, int]],
) -> Quality:
    customers = max(int(aggregates.customers[:-1].sum()), 1)
    return Quality(
        unknown={
            name: round(count / customers, 4)
            for name, count in zip(FEATURES, aggregates.unknown.tolist(), strict=True)
        },
        purchases=categories.arrived,
        duplicates=categories.duplicates if context.deployment.dedup_events else None,
        late=categories.late,
        dead_letters=rejected,
        behind=categories.behind,
    )


def _dead_letters(config: dict[str, Any], show: Any) -> dict[str, tuple[int, int]]:
    found: Counter[str] = Counter()
    replayed: Counter[str] = Counter()
    for letter in letters(config, Selection()):
        found[letter.origin.reason] += 1
        replayed[letter.origin.reason] += letter.replayed_at is not None
        show(found.total())
    return {reason: (count, replayed[reason]) for reason, count in found.most_common()}


def _named(names: tuple[str, ...], values: Floats) -> dict[str, float | None]:
    return {name: known(value) for name, value in zip(names, values.tolist(), strict=True)}
