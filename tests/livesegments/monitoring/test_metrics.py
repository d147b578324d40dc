"""A worker's metrics: complete from the start, bounded, and with consistent totals."""

import math
import subprocess
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families

from livesegments.features.segmentation import Segmentation
from livesegments.model.naming import Segment
from livesegments.monitoring.metric_specs import TABLE
from livesegments.monitoring.metrics import BatchHistogram, Metrics
from livesegments.monitoring.series import PREFIX
from tests.livesegments.monitoring.needs import needs_promtool
from tests.segmentations import PERSONAS

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]

PARTITION_SERIES = {series.full_name for series in TABLE if "partition" in series.labels}


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CollectorRegistry(), PERSONAS, version="1.2.3")


def exposed(metrics: Metrics) -> Samples:
    text = generate_latest(metrics.registry).decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float:
    return exposed(metrics)[PREFIX + name, frozenset(labels.items())]


def names(metrics: Metrics) -> set[str]:
    return {name for name, _ in exposed(metrics)}


def sample_name(name: str, type_: str) -> str:
    return name + "_count" if type_ == "histogram" else name


def test_every_combination_of_label_values_is_there_from_the_start(metrics: Metrics) -> None:
    found = exposed(metrics)
    assert not names(metrics) & PARTITION_SERIES
    for series in TABLE:
        if "partition" in series.labels or series.type == "info":
            continue
        for values in product(*(series.values_of(label) or () for label in series.labels)):
            labels = frozenset(zip(series.labels, values, strict=True))
            assert (sample_name(series.full_name, series.type), labels) in found


def test_labels_are_those_of_the_table_and_none_names_a_customer(metrics: Metrics) -> None:
    metrics.take_partition(0)
    allowed = {series.full_name: {*series.labels, "le"} for series in TABLE}
    for name, labels in exposed(metrics):
        keys = {key for key, _ in labels}
        assert keys <= (allowed.get(name) or allowed[name.rpartition("_")[0]])
        assert not any("customer" in key for key in keys)


def test_the_help_text_says_unit_and_how_to_aggregate(metrics: Metrics) -> None:
    text = generate_latest(metrics.registry).decode()
    for family in text_string_to_metric_families(text):
        assert "Unit: " in family.documentation
        assert "Over workers: " in family.documentation


def test_the_text_is_valid_openmetrics_too(metrics: Metrics) -> None:
    metrics.take_partition(0)
    metrics.observe("end_to_end_latency_seconds", [0.1, 9999.0])
    text = generate_openmetrics(metrics.registry).decode()  # type: ignore[no-untyped-call]
    parsed = parse_openmetrics(text)  # type: ignore[no-untyped-call]
    families = {family.name for family in parsed}
    assert families == {
        series.full_name.removesuffix("_total").removesuffix("_info") for series in TABLE
    }


@needs_promtool
def test_promtool_finds_nothing_to_object_to(metrics: Metrics) -> None:
    metrics.take_partition(0)
    metrics.observe("end_to_end_latency_seconds", [0.1, 9999.0])
    checked = subprocess.run(
        ["promtool", "check", "metrics"],
        input=generate_latest(metrics.registry),
        capture_output=True,
        timeout=30,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_gauges_that_are_summed_never_start_unknown() -> None:
    for series in TABLE:
        if series.type == "gauge" and series.over_workers == "sum":
            assert series.initial == 0


def test_what_no_model_has_told_yet_is_unknown_and_not_zero(metrics: Metrics) -> None:
    assert math.isnan(value(metrics, "explained_variance_ratio"))
    assert math.isnan(value(metrics, "centroid_shift_stddevs", segment="families"))
    assert value(metrics, "model_generation") == 0


def test_series_of_a_partition_live_as_long_as_it_is_held(metrics: Metrics) -> None:
    before = exposed(metrics).keys()
    metrics.take_partition(3)
    metrics.take_partition(4)
    assert names(metrics) >= PARTITION_SERIES
    metrics.set("consumer_lag_records", 17, "purchases.v1", 3)
    assert value(metrics, "consumer_lag_records", topic="purchases.v1", partition="3") == 17
    metrics.give_up_partition(3)
    left = {dict(labels).get("partition") for _, labels in exposed(metrics)}
    assert left == {None, "4"}
    metrics.give_up_partition(4)
    assert exposed(metrics).keys() == before


def test_a_value_of_a_partition_given_up_does_not_bring_it_back(metrics: Metrics) -> None:
    before = exposed(metrics).keys()
    metrics.take_partition(0)
    metrics.give_up_partition(0)
    metrics.give_up_partition(0)
    metrics.set("consumer_lag_records", 5, "purchases.v1", 0)
    metrics.set("consumer_lag_seconds", 5.0, 0)
    metrics.set("partition_sync_age_seconds", 5.0, 0)
    metrics.set("segment_customers", 5, "families", 0)
    assert exposed(metrics).keys() == before


def test_a_partition_taken_again_starts_anew(metrics: Metrics) -> None:
    metrics.take_partition(0)
    metrics.set("segment_customers", 5, "families", 0)
    metrics.give_up_partition(0)
    metrics.take_partition(0)
    assert value(metrics, "segment_customers", segment="families", partition="0") == 0


def test_every_counter_counts_and_every_gauge_takes_the_last_value(metrics: Metrics) -> None:
    metrics.take_partition(1)
    known = {"segment": PERSONAS.segment_ids, "feature": PERSONAS.feature_names}
    for number, series in enumerate(TABLE):
        if series.type not in ("counter", "gauge"):
            continue
        ids = known | dict.fromkeys(("from", "to"), PERSONAS.segment_ids)
        labels: list[Any] = [
            1 if label == "partition" else (ids.get(label) or series.values_of(label) or ())[-1]
            for label in series.labels
        ]
        named = dict(zip(series.labels, map(str, labels), strict=True))
        if series.type == "counter":
            metrics.count(series.name, *labels, n=number)
            metrics.count(series.name, *labels)
            assert value(metrics, series.name, **named) == number + 1
        else:
            metrics.set(series.name, -1, *labels)
            metrics.set(series.name, number, *labels)
            assert value(metrics, series.name, **named) == number


def test_positions_go_to_their_segment_and_feature(metrics: Metrics) -> None:
    metrics.set_all("centroid_position_stddevs", np.arange(25.0).reshape(5, 5))
    for (i, segment), (j, feature) in product(
        enumerate(PERSONAS.segment_ids), enumerate(PERSONAS.feature_names)
    ):
        found = value(metrics, "centroid_position_stddevs", segment=segment, feature=feature)
        assert found == 5 * i + j


def test_segments_of_ones_own_have_the_series() -> None:
    segments = tuple(Segment(each, each, "", (0.5,)) for each in "abcde")
    own = Segmentation(PERSONAS.features[:1], segments)
    metrics = Metrics(CollectorRegistry(), own)
    metrics.count("changes_total", "none", "b", "live")
    metrics.set_all("cluster_customers", [1, 2, 3, 4, 5])
    assert value(metrics, "changes_total", **{"from": "none", "to": "b"}, origin="live") == 1
    assert value(metrics, "cluster_customers", segment="e") == 5
    with pytest.raises(ValueError, match="segment is one of a, b"):
        metrics.set("segment_customers", 1, "families", 0)


def test_the_build_is_told(metrics: Metrics) -> None:
    (labels,) = [dict(ls) for name, ls in exposed(metrics) if name == PREFIX + "build_info"]
    assert labels["version"] == "1.2.3"


@pytest.mark.parametrize(
    "call",
    [
        lambda metrics: metrics.count("events_consumed_total", "customer-4711"),
        lambda metrics: metrics.count("events_skipped_total", "not_json"),
        lambda metrics: metrics.count("changes_total", "families", "pensioners", "live"),
        lambda metrics: metrics.time("batch_duration_seconds", "think"),
        lambda metrics: metrics.set("segment_customers", 1, "pensioners", 0),
        lambda metrics: metrics.set("consumer_lag_records", 1, "orders", 0),
        lambda metrics: metrics.set_all("feature_psi", [1.0, 2.0]),
        lambda metrics: metrics.set_all("centroid_position_stddevs", np.zeros((5, 4))),
        lambda metrics: metrics.count("events_processed_total", "purchases.v1", n=-1),
    ],
)
def test_what_is_not_in_the_table_is_refused(
    metrics: Metrics, call: Callable[[Metrics], object]
) -> None:
    before = exposed(metrics).keys()
    with pytest.raises(ValueError, match=r"is one of|of shape|non-negative"):
        call(metrics)
    assert exposed(metrics).keys() == before


def test_a_partition_is_being_rebuilt_until_that_ends_however_it_ends(metrics: Metrics) -> None:
    def fail() -> None:
        with metrics.track("recoveries_running"):
            assert value(metrics, "recoveries_running") == 1
            raise ConnectionError

    with pytest.raises(ConnectionError):
        fail()
    assert value(metrics, "recoveries_running") == 0


def test_a_stage_is_timed_even_when_it_fails(metrics: Metrics) -> None:
    with metrics.time("batch_duration_seconds", "decode"):
        pass
    with pytest.raises(ConnectionError), metrics.time("batch_duration_seconds", "commit"):
        raise ConnectionError
    assert value(metrics, "batch_duration_seconds_count", stage="decode") == 1
    assert value(metrics, "batch_duration_seconds_count", stage="assign") == 0
    assert value(metrics, "batch_duration_seconds_count", stage="commit") == 1


def test_two_workers_in_one_process_do_not_share_numbers(metrics: Metrics) -> None:
    other = Metrics(CollectorRegistry(), PERSONAS)
    other.count("events_consumed_total", "purchases.v1", n=5)
    assert value(metrics, "events_consumed_total", topic="purchases.v1") == 0


def test_a_registry_takes_no_second_set(metrics: Metrics) -> None:
    with pytest.raises(ValueError, match="Duplicated"):
        Metrics(metrics.registry, PERSONAS)


@given(st.lists(st.lists(st.one_of(st.sampled_from([0.1, 0.5, 2.0]), st.floats(0, 100)))))
def test_a_batch_histogram_equals_one_observation_after_another(
    batches: list[list[float]],
) -> None:
    buckets = (0.1, 0.5, 2.0)  # some observations equal the bounds
    one, many = CollectorRegistry(), CollectorRegistry()
    reference = Histogram("a_seconds", "Text.", buckets=buckets, registry=one)
    histogram = BatchHistogram("a_seconds", "Text.", buckets)
    many.register(histogram)
    for batch in batches:
        histogram.observe(batch)
        for observation in batch:
            reference.observe(observation)
    expected, found = (list(_samples(registry)) for registry in (one, many))
    assert [name for name, _ in found] == [name for name, _ in expected]
    assert [x for _, x in found] == pytest.approx([x for _, x in expected])


def _samples(registry: CollectorRegistry) -> list[tuple[str, float]]:
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return sorted(
        (sample.name + str(sample.labels), sample.value)
        for family in families
        for sample in family.samples
    )


def test_an_unknown_latency_is_left_out(metrics: Metrics) -> None:
    metrics.observe("end_to_end_latency_seconds", [math.nan, 0.2])
    metrics.observe("end_to_end_latency_seconds", 0.3)
    assert value(metrics, "end_to_end_latency_seconds_count") == 2
    assert value(metrics, "end_to_end_latency_seconds_sum") == pytest.approx(0.5)
