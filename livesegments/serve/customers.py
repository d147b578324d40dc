"""Customers as stored, with the confidence and the explanation of the current model."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
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
from livesegments.features.window import window
from livesegments.serve.current_state import AWAY, CurrentState
from livesegments.serve.problems import unavailable
from livesegments.store.partitions import Partitions, ReadRequest

Json = dict[str, Any]

MOST_TOGETHER = 64
"""Requests that are read together."""
_CONSENT = {-1: None, 0: False, 1: True}


class CustomerReader:
    """Reads customers of a deployment from its store, for several threads.

    Requests that come while others are read are read together: one round trip and one scoring for
    all of them.
    """

    def __init__(self, store: Partitions, current: CurrentState) -> None:
        self._store, self._current = store, current
        self._thread = ThreadPoolExecutor(1, "customers")
        self._waiting: list[tuple[Sequence[str], asyncio.Future[dict[str, Json]]]] = []
        self._reading: asyncio.Task[None] | None = None

    async def find(self, customer_ids: Sequence[str]) -> dict[str, Json]:
        """Return the known customers, by id; raises as `read`."""
        found: asyncio.Future[dict[str, Json]] = asyncio.get_running_loop().create_future()
        self._waiting.append((customer_ids, found))
        if self._reading is None:
            self._reading = asyncio.create_task(self._read_waiting())
        return await found

    async def _read_waiting(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch, self._waiting = self._waiting[:MOST_TOGETHER], self._waiting[MOST_TOGETHER:]
            wanted = [each for ids, _ in batch for each in ids]
            try:
                found = await loop.run_in_executor(self._thread, self.read, wanted)
            except Exception as error:  # noqa: BLE001 - each request answers with it
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
            else:
                for ids, future in batch:
                    if not future.done():
                        future.set_result({each: found[each] for each in ids if each in found})
        self._reading = None

    def read(self, customer_ids: Sequence[str]) -> dict[str, Json]:
        """Return the known customers, by id: one round trip per server.

        Raises `ProblemError` if the store is away, or no worker has ever run.
        """
        now = self._current.now
        if self._current.trouble is not None or now is None:
            raise unavailable(self._current.trouble or AWAY)
        deployment, config = now.deployment, now.rules
        ids = [each for each in dict.fromkeys(customer_ids) if _is_possible(each)]
        partitioning = Partitioning(deployment.partitioner, deployment.partitions)
        partitions = partitioning.of_keys([each.encode() for each in ids]).tolist()
        grouped: dict[int, list[str]] = defaultdict(list)
        for each, partition in zip(ids, partitions, strict=True):
            grouped[partition].append(each)
        group = self._store.group_id
        requests = [
            ReadRequest(partition, names, [marker_key(name, group) for name in names])
            for partition, names in grouped.items()
        ]
        try:
            results = self._store.read(requests) if requests else []
        except RedisError:
            raise unavailable(AWAY) from None
        names = np.array([name for each in requests for name in each.customers], object)
        records = decode([blob for each in results for blob in each.records], config.record_shape)
        clocks = [now.clocks_us[each.partition] for each in requests for _ in each.customers]
        markers = (Marker.from_bytes(stored) for each in results for stored in each.erasures)
        shown = _is_kept(records) & ~np.array([each.suppressed for each in markers], np.bool_)
        clocks_us = np.array(clocks, np.int64)[shown]
        return _describe(names[shown].tolist(), records[shown], clocks_us, now.model, config)


def _describe(
    names: Sequence[str],
    records: Records,
    clocks_us: NDArray[np.int64],
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
            clocks_us = np.maximum(clocks_us, time.time_ns() // 1_000)
        layout, segmentation = config.layout, config.segmentation
        vectors = segmentation.vectors(records, window(records, layout.tile_of(clocks_us), layout))
        confidences = model.kmeans.predict_arrays(vectors).confidence().round(4).tolist()
        zscores = model.snapshot.zscores(vectors).round(2).tolist()
        explanations = [_explanation(segmentation.feature_names, row) for row in zscores]
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
        for name, segment, since, version, confidence, explanation, marketing, profiling in columns
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
