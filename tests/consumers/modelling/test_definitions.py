import json
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from kafka import KafkaProducer

from livesegments.consumers.modelling.definitions import to_definitions, to_generation
from livesegments.consumers.modelling.global_model import DefinitionsReader
from livesegments.contracts.segments import SegmentDefinition, encode
from livesegments.contracts.topics import DEFINITIONS
from livesegments.model.cluster_statistics import ClusterStatistics
from livesegments.model.drift import Histogram
from livesegments.model.generation import Generation
from livesegments.model.vectors import quantize
from tests.consumers.harness import MEAN, SEGMENTS, STD, generation, model_of
from tests.segmentations import PERSONAS
from tests.servers import KafkaServer


def described(of: Generation, statistics: ClusterStatistics | None = None) -> list[dict[str, Any]]:
    return to_definitions(model_of(of, statistics), PERSONAS)


def published(definitions: Sequence[dict[str, Any]], version: int = 1) -> list[bytes]:
    return [encode({**definition, "version": version}) for definition in definitions]


def test_a_generation_comes_back_from_its_definitions_to_the_last_bit() -> None:
    fitted = Generation(
        number=9,
        centroids=np.where(np.eye(5) > 0, np.nan, np.pi * np.arange(25).reshape(5, 5) / 7),
        mean=np.array([0.1, 0.2, np.nan, 1 / 3, 0.5]),
        variance=np.array([1e-17, 2.5, np.nan, 1 / 7, 0.0]),
        sizes=(1, 0, 3, 4, 5),
        segments=SEGMENTS[::-1],
        histograms=tuple(Histogram((i / 7, i / 7 + 1e-5), (i, 0, 3, 1)) for i in range(5)),
        provisional=True,
    )
    read = [SegmentDefinition.model_validate_json(each) for each in published(described(fitted))]
    assert to_generation(read[::-1]) == fitted


def test_before_anyone_is_counted_a_definition_tells_of_the_fit() -> None:
    for cluster, definition in enumerate(described(generation(turn=2))):
        assert definition["id"] == generation(turn=2).segments[cluster]
        assert definition["cluster"] == cluster
        assert definition["size"] == 10
        assert definition["persona_distance"] == pytest.approx(0, abs=1e-3)


def test_a_centroid_is_in_natural_units() -> None:
    [first, *_] = described(generation())
    position = MEAN + np.array(PERSONAS.segments[0].position) * STD
    assert first["centroid"].pop("recency") is first["centroid"].pop("basket") is None
    assert first["centroid"] == pytest.approx(
        {
            "purchases": np.expm1(position[0]),
            "spend": np.expm1(position[1]),
            "age": position[2],
            "income": np.exp(position[3]),
            "urbanicity": position[4],
        }
    )


def test_a_definition_follows_the_customers_counted_or_stands_where_the_fit_put_it() -> None:
    x = np.array([[np.log1p(2), np.log1p(30), np.nan, np.log(50_000), 1.0]])
    statistics = ClusterStatistics.of(quantize(np.repeat(x, 2, axis=0)), np.array([1, 1]), k=5)
    empty, counted, *_ = described(generation(), statistics)
    assert counted["size"] == 2
    assert counted["centroid"]["purchases"] == pytest.approx(2, abs=1e-4)
    assert counted["centroid"]["income"] == pytest.approx(50_000, rel=1e-4)
    assert counted["centroid"]["age"] is None
    assert empty["size"] == 0
    stands = [empty["centroid"][name] for name in PERSONAS.feature_names]
    assert stands == pytest.approx(
        PERSONAS.natural(generation().centroids[:1])[0].tolist(), rel=1e-4
    )
    for value in published([empty, counted]):
        SegmentDefinition.model_validate_json(value)


def test_a_definition_says_what_its_name_rests_on() -> None:
    for definition in described(generation()):
        assert definition["named_by"] == PERSONAS.feature_names
        assert "Named by" not in definition["description"]
    fitted = generation()
    nobody_knows = np.isin(PERSONAS.feature_names, ("age", "income"))
    centroids = np.where(nobody_knows, np.nan, fitted.centroids)
    centroids[1, 4] = np.nan  # place unknown for all families
    centroids[2] = np.nan  # an empty cluster
    variance = np.where(nobody_knows, np.nan, fitted.variance)
    variance[1] = 0.0  # all spend the same
    found = described(replace(fitted, centroids=centroids, variance=variance))
    assert found[0]["named_by"] == ("purchases", "urbanicity")
    assert found[0]["description"].endswith("Named by purchases and urbanicity only.")
    assert found[1]["named_by"] == ("purchases",)
    assert found[1]["description"].endswith("Named by purchases only.")
    assert found[2]["description"].endswith("Named by no feature.")


@pytest.mark.servers
def test_a_generation_exists_once_all_its_definitions_can_be_read(fresh_kafka: KafkaServer) -> None:
    config = {"bootstrap_servers": fresh_kafka.bootstrap}
    producer = KafkaProducer(**config)

    def publish(values: Sequence[bytes]) -> None:
        for value in values:
            key = json.loads(value)["id"].encode()
            producer.send(DEFINITIONS, key=key, value=value, partition=0).get(10)

    def learnt(reader: DefinitionsReader, seconds: float) -> bool:
        until = time.monotonic() + seconds
        before = reader.generation
        while reader.generation is before and time.monotonic() < until:
            time.sleep(0.02)
            assert not reader.poll()
        return reader.generation is not before

    reader = DefinitionsReader(config, PERSONAS)
    assert reader.generation is None
    first, second = published(described(generation(1))), published(described(generation(5, turn=1)))
    publish([*first[:4], b'{"id": "of another producer"}'])
    assert not learnt(reader, 1)
    publish(first[4:])
    assert learnt(reader, 10)
    assert reader.generation == generation(1)
    publish(first)
    assert not learnt(reader, 0.5), "the same generation, described again"
    publish(second[:3])
    assert not learnt(reader, 0.5)
    assert reader.generation == generation(1)
    publish(second[3:])
    assert learnt(reader, 10)
    publish(first)
    assert not learnt(reader, 0.5), "it never goes back"
    assert reader.generation == generation(5, turn=1)
    reader.close()

    later = DefinitionsReader(config, PERSONAS)
    assert later.generation == generation(5, turn=1), "a new reader knows at once"
    later.close()
    producer.close()
