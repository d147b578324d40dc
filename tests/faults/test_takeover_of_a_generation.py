"""Workers killed while adopting a generation: it is adopted once, and every customer counted."""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from livesegments.consumers.modelling.global_model import DefinitionsReader
from livesegments.consumers.modelling.refit import Request
from livesegments.contracts.segments import SegmentDefinition
from livesegments.contracts.topics import DEFINITIONS
from livesegments.store.refit_requests import RefitRequests
from tests.service import PARTITIONS, Event, Service
from tests.stored import read_partition

pytestmark = pytest.mark.servers

KILLS = 10 * int(os.environ.get("LIVESEGMENTS_KILLS", "1"))


def owns(log: Path) -> bool:
    """Return whether a worker has taken its partitions over, according to its log."""
    return log.exists() and b"owns partitions" in log.read_bytes()


def definitions(service: Service) -> list[SegmentDefinition]:
    records = service.records(DEFINITIONS)
    return [SegmentDefinition.model_validate_json(record.value) for record in records]


def turned(service: Service) -> Request:
    """A fit that permutes the cluster names, so that every customer moves."""
    reader = DefinitionsReader(service.config, service.segmentation)
    reader.close()
    assert reader.generation is not None
    segments = tuple(np.roll(reader.generation.segments, 1).tolist())
    return Request(reader.generation.number, replace(reader.generation, segments=segments))


@pytest.mark.timeout(300)
def test_a_generation_whose_takeover_is_killed_ten_times_is_taken_over_once(
    service: Service, make_load: Callable[..., list[Event]], tmp_path: Path
) -> None:
    service.environment |= {
        "LIVESEGMENTS_REFIT": "off",
        "LIVESEGMENTS_SESSION_TIMEOUT_SECONDS": "1",
        "LIVESEGMENTS_INSTANCE_ID": "one",
    }
    first = service.start()
    sent = service.send(make_load(6_000, customers=1_500))
    service.wait_for(service.has_model, "the model is known")
    service.wait()
    service.leave(first)
    request = turned(service)
    assert RefitRequests(service.client, "livesegments").put(request.to_bytes(), 300)

    service.environment |= {
        "LIVESEGMENTS_SWEEP_CUSTOMERS": "2",
        "LIVESEGMENTS_MAX_CHANGES_PER_SECOND": "20",
    }
    rng = np.random.default_rng(0)
    unfinished = 0
    for kill in range(KILLS):
        worker = service.start()
        if kill % 4:
            service.wait_for(partial(owns, service.logs[-1]), "it takes over")
        time.sleep(rng.uniform(0, 0.8))
        if kill == KILLS // 2:
            sent += service.send(make_load(300, customers=1_500, first=sent))
        over = [
            read_partition(service.client, "livesegments", p).cut.swept_generation
            for p in range(PARTITIONS)
        ]
        unfinished += min(over) <= request.replaces
        worker.kill()
        worker.wait()
    assert unfinished > KILLS // 2

    service.start(SWEEP_CUSTOMERS="500", MAX_CHANGES_PER_SECOND="0")
    service.wait(90)
    service.verified()
    assert not service.client.exists("livesegments:refit")
    told = definitions(service)
    assert len({each.generation for each in told}) == 2
    newest = max(each.generation for each in told)
    partitions = [read_partition(service.client, "livesegments", p) for p in range(PARTITIONS)]
    counted = [c for p in partitions for c in p.customers.values() if c.cluster >= 0]
    assert {customer.generation for customer in counted} == {newest}
    assert len(counted) > 1_000
