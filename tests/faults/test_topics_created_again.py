"""Topics that were deleted and created again, empty."""

import time
from collections.abc import Callable

import pytest
from kafka.admin import KafkaAdminClient

from livesegments.contracts.segments import SegmentDefinition
from livesegments.contracts.topics import DEFINITIONS, PURCHASES, topics
from tests.service import PARTITIONS, Event, Service

pytestmark = pytest.mark.servers


def create_again(service: Service, name: str) -> None:
    config = next(dict(topic.config) for topic in topics() if topic.name == name)
    with KafkaAdminClient(**service.config) as admin:
        admin.delete_topics([name])
        service.wait_for(lambda: name not in admin.list_topics(), "the topic is gone")
        wanted = {"num_partitions": PARTITIONS, "replication_factor": 1, "configs": config}
        admin.create_topics({name: wanted}, wait_for_metadata=True)


def generation(service: Service) -> int:
    """Return the oldest generation that a partition has been scored under."""
    keys = [f"livesegments:{{{partition}}}:progress" for partition in range(PARTITIONS)]
    return min(int(service.client.hget(key, "swept_generation") or 0) for key in keys)


def test_a_generation_that_nobody_knows_any_more_is_followed_by_a_new_one(
    service: Service, make_load: Callable[..., list[Event]]
) -> None:
    service.send(make_load(2_500))
    worker = service.start()
    service.wait()
    service.wait_for(service.has_model, "there is a model")
    service.leave(worker)
    lost = generation(service)
    create_again(service, DEFINITIONS)
    service.send(make_load(1_000, first=2_500))
    workers = [service.start(), service.start()]
    service.wait_for(lambda: generation(service) > lost, "there is a newer generation")
    service.wait()
    assert "the model's generation is lost" in service.tail()
    assert [each.poll() for each in workers] == [None, None]
    service.verified()


def test_a_generation_that_a_worker_still_knows_is_published_again_without_traffic(
    service: Service, make_load: Callable[..., list[Event]]
) -> None:
    service.environment["LIVESEGMENTS_DEFINITIONS_SECONDS"] = "1"
    service.send(make_load(2_500))
    workers = [service.start(), service.start()]
    service.wait_for(service.has_model, "there is a model")
    time.sleep(4)  # a check of the first fit, and the last definitions, have come by then
    service.wait()
    known = generation(service)
    create_again(service, DEFINITIONS)
    segments = service.segmentation.segment_ids
    service.wait_for(lambda: len(service.records(DEFINITIONS)) >= len(segments), "they are back")
    records = service.records(DEFINITIONS)
    published = [SegmentDefinition.model_validate_json(each.value) for each in records]
    assert {each.id for each in published} == set(segments)
    assert {each.generation for each in published} == {known}
    workers.append(service.start())
    service.send(make_load(1_000, first=2_500))
    service.wait(90)
    assert [worker.poll() for worker in workers] == [None] * 3
    service.verified()


def test_an_input_is_refused_until_its_loss_is_accepted(
    service: Service, make_load: Callable[..., list[Event]]
) -> None:
    service.send(make_load(2_500))
    worker = service.start()
    service.wait()
    service.wait_for(service.has_model, "there is a model")
    service.leave(worker)
    create_again(service, PURCHASES)

    refused = service.start()
    assert refused.wait(60) == 1, service.tail()
    assert "the input topics were created again" in service.logs[-1].read_text()

    service.start("--accept-loss")
    taken = "owns partitions"
    service.wait_for(lambda: taken in service.logs[-1].read_text(), "the store is rebuilt")
    service.wait()
    assert {state and state.segment for state in service.states().values()} == {None}
