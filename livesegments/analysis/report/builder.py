"""Put a report together from the store and the topics."""

from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from consumers.log import LogReader
from contracts.instants import rfc3339
from features.layout import DAY_US
from features.vector import FEATURES
from livesegments.analysis.drift import drift_since_fit, known
from livesegments.analysis.report.aggregates import Survey
from livesegments.analysis.report.audience_export import Lists, Offers
from livesegments.analysis.report.category_sets import Bought
from livesegments.analysis.report.category_stats import LEAST_EXPECTED, Baskets
from livesegments.analysis.report.churn import Watch
from livesegments.analysis.report.context import ReportError, Standing, expected, look
from livesegments.analysis.report.customer_rows import dates
from livesegments.analysis.report.models import NONE, Categories, Drift, Quality, Report, Target
from livesegments.analysis.report.transitions import Changes, Period, read_changes
from livesegments.clients import kafka_config, redis_client
from livesegments.dead_letters import Selection, letters
from livesegments.rendering.progress import counting
from livesegments.scan import scan, settled
from livesegments.segments import describe
from livesegments.settings import Settings
from model.drift import psi
from model.types import Floats
from store.partitions import Partitions


def run(settings: Settings, days: int, lists: Path | None = None) -> tuple[Report, dict[str, int]]:
    """Report on a deployment; return it, and how many customers went to which list.

    Parameters
    ----------
    settings
        Of the deployment.
    days
        Length of the period in event time, up to the latest clock of the partitions; and how far
        ahead customers are looked for who leave the most valuable segment.
    lists
        Folder for lists of customers by their real ids; None writes none.

    Raises
    ------
    ReportError
        If no worker has ever run, there is no model yet, or the store is empty.
    UnsettledError
        If a recovery is under way.
    """
    standing = look(settings, Partitions(redis_client(settings), settings.group_id))
    config = kafka_config(settings)
    clock_us = _clock(standing)
    period = Period.up_to(clock_us, days)
    bought = Bought() if lists else None
    baskets = Baskets(standing, bought)
    with LogReader(config) as log:
        with counting("reading changes") as show:
            changes = read_changes(log, standing, period, show)
        with counting("reading purchases") as show:
            baskets.read(log, show)
    survey, watch = Survey(standing), Watch(standing, changes.left, days)
    written: dict[str, int] = {}
    with counting("reading customers") as show, ExitStack() as stack:
        out = None
        if lists and bought:
            offers = Offers(baskets.names, _likely(*baskets.matrix()), bought)
            out = stack.enter_context(Lists(lists, standing, offers))
            written = out.written
        total = 0
        for stretch in scan(standing.store, standing.deployment):
            survey.add(stretch)
            drifting = watch.add(stretch)
            if out:
                out.add(stretch, drifting)
            total += len(stretch.names)
            show(total)
    with counting("reading dead letters") as show:
        refused = _dead_letters(config, show)
    return _report(standing, clock_us, period, changes, baskets, survey, watch, refused), written


def _clock(standing: Standing) -> int:
    found = settled(standing.store, standing.deployment)
    if not found:
        raise ReportError(
            f"group {standing.rules.group_id!r} has nothing in the store: it was emptied or lost;"
            " a worker makes it anew (livesegments run)"
        )
    return max(progress.clock_us for progress in found)


def _report(
    standing: Standing,
    clock_us: int,
    period: Period,
    changes: Changes,
    baskets: Baskets,
    survey: Survey,
    watch: Watch,
    refused: dict[str, tuple[int, int]],
) -> Report:
    rules, model = standing.rules, standing.model
    ids = rules.segment_ids
    sizes = changes.sizes(survey.customers[:-1])
    first = int(np.argmax(sizes.sum(axis=1) > 0))
    segments = describe(
        model.generation,
        model.snapshot,
        standing.statistics,
        rules.personas,
        dict(zip(ids, survey.customers.tolist(), strict=False)),
    )
    order = [segment.id for segment in segments]
    persona = expected(rules.personas, model.snapshot)
    names = (*ids, NONE)
    flows = changes.flows.sum(axis=0)
    day_us = [(period.first + day) * DAY_US for day in range(first, period.days)]
    return Report(
        group=rules.group_id,
        clock=rfc3339([clock_us])[0],
        window_days=standing.deployment.window_days,
        currency=rules.currency,
        customers=int(survey.customers[:-1].sum()),
        segments=segments,
        places=_places(standing),
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
        targets=tuple(_target(survey, ids, ids.index(segment)) for segment in order),
        retention=watch.found(),
        categories=_categories(baskets, order, ids),
        typical=tuple(member for segment in order for member in survey.typical[ids.index(segment)]),
        drift=_drift(standing, survey),
        quality=_quality(standing, baskets, survey, refused),
    )


def _places(standing: Standing) -> dict[str, dict[str, tuple[float | None, float]]]:
    generation, statistics, view = (
        standing.model.generation,
        standing.statistics,
        standing.model.snapshot,
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
        for persona in standing.rules.personas
    }


def _target(survey: Survey, ids: tuple[str, ...], i: int) -> Target:
    refusing, consenting, unknown = survey.marketing[i].tolist()
    return Target(
        segment=ids[i],
        customers=int(survey.customers[i]),
        consenting=consenting,
        refusing=refusing,
        unknown=unknown,
        spend=int(survey.cents[i]) / 100,
        purchases=int(survey.purchases[i]),
        consenting_spend=int(survey.consenting_cents[i]) / 100,
    )


def _categories(baskets: Baskets, order: list[str], ids: tuple[str, ...]) -> Categories:
    names = baskets.names
    counts, cents = baskets.counts[:, 1 : len(names) + 1], baskets.cents[:, 1 : len(names) + 1]
    lift = _likely(*baskets.matrix())
    rows = [ids.index(segment) for segment in order]
    columns = np.argsort(-counts.sum(axis=0), kind="stable").tolist()
    return Categories(
        purchases=int(baskets.counts.sum()),
        without=int(baskets.counts[:, 0].sum()),
        rows={names[j]: {ids[i]: int(counts[i, j]) for i in rows} for j in columns},
        spend={names[j]: {ids[i]: int(cents[i, j]) / 100 for i in rows} for j in columns},
        lift={names[j]: {ids[i]: known(lift[i, j], 3) for i in rows} for j in columns},
    )


def _likely(expected_purchases: Floats, lift: Floats) -> Floats:
    return np.where(expected_purchases >= LEAST_EXPECTED, lift, np.nan)


def _drift(standing: Standing, survey: Survey) -> Drift:
    generation = standing.model.generation
    found = drift_since_fit(generation, standing.statistics)
    bins = zip(FEATURES, generation.histograms, survey.binned, strict=False)
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
    standing: Standing, baskets: Baskets, survey: Survey, refused: dict[str, tuple[int, int]]
) -> Quality:
    customers = max(int(survey.customers[:-1].sum()), 1)
    return Quality(
        unknown={
            name: round(count / customers, 4)
            for name, count in zip(FEATURES, survey.unknown.tolist(), strict=True)
        },
        purchases=baskets.arrived,
        duplicates=baskets.duplicates if standing.deployment.dedup_events else None,
        late=baskets.late,
        dead_letters=refused,
        behind=baskets.behind,
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
