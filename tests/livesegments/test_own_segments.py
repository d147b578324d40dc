"""A deployment with five custom segments, on Kafka and Redis."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from kafka.consumer.fetcher import ConsumerRecord

from livesegments.contracts.segments import SegmentDefinition
from livesegments.contracts.topics import DEFINITIONS
from livesegments.features.segmentation import Segmentation
from livesegments.model.naming import Segment
from tests.segmentations import PERSONAS, RFM, of_size, to_toml
from tests.service import Service, purchase, running

pytestmark = pytest.mark.servers

OWN = Segmentation(
    PERSONAS.features,
    tuple(
        Segment(f"club-{i}", f"Club {i}", "", (level, level, 0.0, 0.0, 0.0))
        for i, level in enumerate((1.5, 0.8, 0.0, -0.8, -1.5))
    ),
)


def test_segments_of_ones_own_are_published_exported_and_verified_and_never_change_their_ids(
    service: Service, tmp_path: Path
) -> None:
    file = tmp_path / "own.toml"
    file.write_text(to_toml(OWN))
    service.environment["LIVESEGMENTS_SEGMENTATION"] = str(file)
    with running(service):
        service.send(
            purchase(f"c{i}", f"2024-01-{1 + j:02d}T10:00:00Z", 5.0 + i)
            for i in range(80)
            for j in range(1 + i // 8)
        )
        service.wait_for(service.has_model, "everyone is scored")
        service.wait()
        service.verified()
        export = service.command("export", str(tmp_path / "out.jsonl"))
        assert export.returncode == 0
        doctor = service.command("doctor", "--json")
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    by_segment = {row["segment"]: row["purchases"] for row in rows}
    assert by_segment.keys() == set(OWN.segment_ids)
    # The best club buys most and the last least, though only behaviour is known.
    assert max(by_segment, key=lambda club: by_segment[club]) == "club-0"
    assert min(by_segment, key=lambda club: by_segment[club]) == "club-4"

    published = {each.id: each for each in map(_definition, service.records(DEFINITIONS))}
    assert published["club-0"].named_by == ("purchases", "spend")
    assert published["club-0"].description == "Named by purchases and spend only."
    found = {each["name"]: each for each in json.loads(doctor.stdout)}
    assert "rest on purchases, spend alone" in found["segment names"]["detail"]

    # A new name does not make a new segment.
    file.write_text(to_toml(OWN).replace("Club 0", "Gold"))
    with running(service):
        service.wait_for(lambda: "owns partitions" in service.tail(), "the worker has joined")
    for changed in (PERSONAS, replace(OWN, segments=OWN.segments[::-1])):
        file.write_text(to_toml(changed))
        done = service.command("run")
        assert done.returncode == 1
        assert "LIVESEGMENTS_SEGMENTATION" in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr
    file.write_text(to_toml(PERSONAS))
    done = service.command("rebuild", "--yes")
    assert done.returncode == 1
    assert "is published already" in done.stderr.splitlines()[-1]
    # A lost store has no ids; the published output does.
    service.redis_server.flush()
    file.write_text(to_toml(PERSONAS))
    done = service.command("run")
    assert done.returncode == 1
    assert "is published already" in done.stderr.splitlines()[-1]
    file.write_text(to_toml(OWN))
    with running(service):
        service.wait_for(service.has_model, "everyone is scored again")
        service.wait()
        service.verified()


def test_a_shop_that_knows_purchases_only_is_segmented_by_recency_frequency_and_value(
    service: Service, tmp_path: Path
) -> None:
    service.environment["LIVESEGMENTS_SEGMENTATION"] = "rfm"
    with running(service):
        service.send(
            purchase(f"c{i}", f"2024-01-{1 + j % 28:02d}T10:00:00Z", 5.0 + i)
            for i in range(90)
            for j in range(1 + i // 9)
        )
        service.send(
            purchase(f"c{i}", f"2024-03-{25 - i % 25:02d}T10:00:00Z", 5.0 + i)
            for i in range(45, 90)
        )
        service.wait_for(service.has_model, "everyone is scored")
        service.wait()
        service.verified()
        service.leave(service.workers[0])  # a rebuild asks who is in the group
    published = {each.id: each for each in map(_definition, service.records(DEFINITIONS))}
    assert published.keys() == set(RFM.segment_ids)
    assert published["champions"].centroid.recency == 0
    assert (published["hibernating"].centroid.recency or 0) > 0
    assert published["champions"].centroid.age is None
    assert published["champions"].model.features == RFM.feature_names

    others = of_size(8, "purchases", "spend", "recency")
    for path, told in (
        ("personas", "LIVESEGMENTS_SEGMENTATION"),
        (_file(tmp_path / "eight.toml", others), "LIVESEGMENTS_SEGMENTATION"),
        (_file(tmp_path / "two.toml", FEWER), "livesegments rebuild"),
    ):
        done = service.command("run", SEGMENTATION=path)
        assert done.returncode == 1
        assert told in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr

    # The ids are the same, so a rebuilt store takes other features and one segment more.
    more = replace(FEWER, segments=(*FEWER.segments, Segment("lost", "Lost", "", (-2.0, -2.0))))
    path = _file(tmp_path / "more.toml", more)
    done = service.command("rebuild", "--yes", SEGMENTATION=path)
    assert done.returncode == 0, done.stderr
    service.environment["LIVESEGMENTS_SEGMENTATION"] = path
    service.verified()
    with running(service):
        service.wait_for(service.has_model, "everyone is scored by the next model")
        service.wait()
        service.verified()


FEWER = Segmentation(
    RFM.features[:2],
    tuple(replace(segment, position=segment.position[:2]) for segment in RFM.segments),
)
"""The segments of `rfm` without recency."""


def _file(path: Path, segmentation: Segmentation) -> str:
    path.write_text(to_toml(segmentation))
    return str(path)


def _definition(record: ConsumerRecord) -> SegmentDefinition:
    return SegmentDefinition.model_validate_json(record.value)
