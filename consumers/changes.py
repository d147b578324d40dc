"""Take scores over into records: recount the statistics, list the segments that change."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from consumers.owned import CLUSTERS
from consumers.scoring import NONE, Scores, since, take
from contracts.segments import DIMENSIONS
from features.record import Records
from features.vector import FEATURES
from model.cluster_statistics import ClusterStatistics
from model.snapshot import ModelSnapshot
from producers.messages import Change, Standing

Rows = NDArray[np.intp]


def recount(
    statistics: dict[int, ClusterStatistics], records: Records, scores: Scores, generation: int
) -> dict[int, ClusterStatistics]:
    """Count each record where it is now, and no longer where it was counted last.

    What was counted is taken from the record itself (its cluster, its vector, its generation),
    never predicted again: so the sums stay exact however often a customer moves.

    Parameters
    ----------
    statistics
        Generation -> statistics before; not changed.
    records
        (n,) records; their cluster, vector and generation are brought up to date in place.
    scores
        Scores of the same records.
    generation
        The generation they were scored under.

    Returns
    -------
    Generation -> statistics after; an older generation without members is dropped.
    """
    moved = np.flatnonzero(
        (records["cluster"] != scores.cluster)
        | (records["generation"] != generation)
        | (records["vector"] != scores.fixed).any(axis=1)
    )
    after = dict(statistics)
    was, vector, cluster = (records[name][moved] for name in ("generation", "vector", "cluster"))
    for number in np.unique(was[cluster != NONE]).tolist():
        rows = was == number
        after[number] = _copy(after, number)
        after[number].subtract(vector[rows], cluster[rows])
    if moved.size:
        after[generation] = (
            after[generation]
            if after.get(generation) is not statistics.get(generation)
            else _copy(after, generation)
        )
        after[generation].add(scores.fixed[moved], scores.cluster[moved])
    records["cluster"] = scores.cluster
    records["vector"] = np.where(scores.counted[:, None], scores.fixed, 0)
    records["generation"] = generation
    return {
        number: counted
        for number, counted in after.items()
        if number == generation or counted.members.any()
    }


def _copy(statistics: dict[int, ClusterStatistics], number: int) -> ClusterStatistics:
    found = statistics.get(number)
    return ClusterStatistics.zeros(CLUSTERS, DIMENSIONS) if found is None else found.copy()


def changed_rows(records: Records, scores: Scores) -> Rows:
    """Return the rows whose published segment changes."""
    return np.flatnonzero(records["segment"] != scores.segment)


def explain(
    rows: Rows,
    customers: Sequence[str],
    records: Records,
    scores: Scores,
    origins: Sequence[str],
    time_us: NDArray[np.int64],
    clock_us: int,
    view: ModelSnapshot,
    segment_of_cluster: NDArray[np.int8],
) -> list[Change]:
    """Describe the changes of m rows as they are published, from records not yet updated.

    ``origins`` (m,) and ``time_us`` (m,) say what made each change, and when it takes effect.
    """
    if not rows.size:
        return []
    assignment = take(scores.assignment, rows)
    nearest = assignment.distances[np.arange(len(rows)), assignment.clusters]
    segment = scores.segment[rows]
    confidences: list[float | None] = assignment.confidence().round(4).tolist()
    distances: list[float | None] = nearest.round(4).tolist()
    runners_up = np.where(segment == NONE, NONE, segment_of_cluster[assignment.runner_up()])
    explanations = _strongest(view.zscores(scores.vectors[rows]).round(2))
    for i in np.flatnonzero(segment == NONE).tolist():
        confidences[i], distances[i], explanations[i] = None, None, []
    columns = (
        [customers[row] for row in rows.tolist()],
        rows.tolist(),
        records["segment"][rows].tolist(),
        segment.tolist(),
        origins,
        time_us.tolist(),
        # A cause may be dated ahead of the clock, and a segment since then could not be left.
        np.maximum(since(records[rows], clock_us), np.minimum(time_us, clock_us)).tolist(),
        confidences,
        distances,
        runners_up.tolist(),
        explanations,
        records["marketing"][rows].tolist(),
    )
    return list(map(Change._make, zip(*columns, strict=True)))


def restate(
    rows: Rows, customers: Sequence[str], records: Records, scores: Scores | None
) -> list[Standing]:
    """Describe where some rows are, from records that are up to date; scores may be missing."""
    confidence: list[float | None] = [None] * len(rows)
    if scores is not None and rows.size:
        confidence = take(scores.assignment, rows).confidence().round(4).tolist()
    return [
        Standing(
            customer_id=customers[row],
            segment=segment,
            since_us=int(records["since"][row]),
            version=int(records["version"][row]),
            confidence=confidence[i] if segment != NONE else None,
            marketing=int(records["marketing"][row]),
        )
        for i, (row, segment) in enumerate(
            zip(rows.tolist(), records["segment"][rows].tolist(), strict=True)
        )
    ]


def _strongest(zscores: NDArray[np.float64]) -> list[list[tuple[str, float]]]:
    """Return each row's known features, the farthest from the average customer first."""
    order = np.argsort(-np.nan_to_num(np.abs(zscores), nan=-1.0), axis=1, kind="stable")
    ordered = np.take_along_axis(zscores, order, axis=1)
    known = np.count_nonzero(~np.isnan(zscores), axis=1).tolist()
    names = np.array(FEATURES)[order].tolist()
    return [
        list(zip(named[:n], values[:n], strict=True))
        for named, values, n in zip(names, ordered.tolist(), known, strict=True)
    ]
