"""Customers as stored, with the confidence and the explanation of the current model."""

import time
from collections import defaultdict
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import numpy as np
from numpy.typing import NDArray
from redis.exceptions import RedisError

from livesegments.consumers.scoring import NONE
from livesegments.contracts.partitioning import Partitioning
from livesegments.contracts.timestamps import rfc3339
from livesegments.domain import Model, ProcessingConfig
from livesegments.features.erasures import Marker, marker_key
from livesegments.features.record_codec import Records, decode, is_known
from livesegments.operations.model_loader import score_at
from livesegments.serve.current_model import AWAY, CurrentModel
from livesegments.serve.problems import ProblemError, unavailable
from livesegments.store.partitions import Partitions, ReadRequest

Json = dict[str, Any]

_CONSENT = {-1: None, 0: False, 1: True}
UNKNOWN = ProblemError(HTTPStatus.NOT_FOUND, "this customer is unknown, erased or suppressed")
"""One answer for all three, so that a client cannot learn which."""


class CustomerReader:
    """Reads customers of a deployment from its store.

    Parameters
    ----------
    store
        Used by several threads.
    current
        Model and clocks.
    """

    def __init__(self, store: Partitions, current: CurrentModel) -> None:
        self._store, self._current = store, current

    def read(self, customer_ids: Sequence[str]) -> dict[str, Json]:
        """Return the known customers, by id: one round trip per server.

        Raises
        ------
        ProblemError
            If the store is away, or no worker has ever run.
        """
        current = self._current.now
        deployment, config = current.deployment, current.config
        if self._current.trouble is not None or deployment is None or config is None:
            raise unavailable(self._current.trouble or AWAY)
        partitioning = Partitioning(deployment.partitioner, deployment.partitions)
        ids = [each for each in dict.fromkeys(customer_ids) if _is_possible(each)]
        grouped: dict[int, list[str]] = defaultdict(list)
        for each in ids:
            grouped[partitioning.of_customer(each)].append(each)
        requests = [
            ReadRequest(
                partition, names, [marker_key(name, self._store.group_id) for name in names]
            )
            for partition, names in grouped.items()
        ]
        if not requests:
            return {}
        try:
            results = self._store.read(requests)
        except RedisError:
            raise unavailable(AWAY) from None
        found: dict[str, Json] = {}
        for request, result in zip(requests, results, strict=True):
            records = decode(result.records, config.record_shape)
            markers = map(Marker.from_bytes, result.erasures)
            shown = _is_kept(records) & ~np.array([each.suppressed for each in markers], np.bool_)
            names = [request.customers[row] for row in np.flatnonzero(shown).tolist()]
            if names:
                clock_us = current.clocks_us[request.partition]
                found |= _describe(names, records[shown], clock_us, current.model, config)
        return found


def _describe(
    names: Sequence[str],
    records: Records,
    clock_us: int,
    model: Model | None,
    config: ProcessingConfig,
) -> dict[str, Json]:
    refs: list[Json | None] = [
        {"id": each.id, "name": each.name} for each in config.segmentation.segments
    ]
    refs.append(None)  # index NONE
    confidences: list[float | None] = [None] * len(names)
    explanations: list[list[Json]] = [[] for _ in names]
    if model is not None:
        if not config.event_clock:
            clock_us = max(clock_us, time.time_ns() // 1_000)
        tile = config.layout.tile(clock_us)
        scores = score_at(records, tile, clock_us, model, config)
        confidences = scores.assignment.confidence().round(4).tolist()
        zscores = model.snapshot.zscores(scores.vectors).round(2)
        features = config.segmentation.feature_names
        explanations = [_explanation(features, row) for row in zscores.tolist()]
    columns = zip(
        names,
        records["segment"].tolist(),
        rfc3339(np.maximum(records["since"], 0).tolist()),
        records["version"].tolist(),
        confidences,
        explanations,
        records["marketing"].tolist(),
        records["profiling"].tolist(),
        strict=True,
    )
    return {
        name: {
            "customer_id": name,
            "segment": refs[segment],
            "since": since if segment != NONE else None,
            "version": version,
            "confidence": confidence if segment != NONE else None,
            "explanation": explanation if segment != NONE else [],
            "consent": {"marketing": _CONSENT[marketing], "profiling": _CONSENT[profiling]},
            "model": model and {"generation": model.generation.number},
        }
        for (
            *(name, segment, since, version, confidence, explanation),
            marketing,
            profiling,
        ) in columns
    }


def _is_possible(customer_id: str) -> bool:
    try:
        customer_id.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return 0 < len(customer_id) <= 128


def _is_kept(records: Records) -> NDArray[np.bool_]:
    """Mask, shape (n,), of customers with more data than an erasure leaves."""
    kept = (records["segment"] >= 0) | is_known(records)
    return np.asarray(kept & ~records["suppressed"] & ~records["erased"], np.bool_)


def _explanation(features: Sequence[str], zscores: Sequence[float]) -> list[Json]:
    """Return the known features, the farthest from the average customer first."""
    known = [(name, z) for name, z in zip(features, zscores, strict=True) if z == z]
    return [
        {"feature": name, "direction": "above" if z >= 0 else "below", "z_score": z}
        for name, z in sorted(known, key=lambda each: -abs(each[1]))
    ]
