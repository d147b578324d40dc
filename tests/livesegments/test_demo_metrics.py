import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.samples import Sample

from contracts.topics import PURCHASES
from livesegments.demo_metrics import WorkerMetrics, quantile, scrape
from livesegments.embedded import free_ports
from monitoring.metrics import Metrics


def scraped(registry: CollectorRegistry) -> WorkerMetrics:
    return WorkerMetrics.parse(generate_latest(registry).decode())


def test_a_worker_that_has_just_started_has_nothing_known() -> None:
    registry = CollectorRegistry()
    Metrics(registry, version="test")

    assert scraped(registry) == WorkerMetrics()


def test_the_figures_are_those_that_the_worker_reports() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry, version="test")
    metrics.count("events_consumed_total", PURCHASES, n=12)
    metrics.count("changes_total", "none", "families", "live", n=2)
    metrics.count("changes_total", "families", "retirees", "expiry", n=1)
    metrics.count("changes_suppressed_total", "margin", n=4)
    metrics.set("warmup_customers", 7)
    metrics.set("warmup_customers_required", 2_000)
    metrics.set("segment_share_psi", 0.02)
    metrics.set("segment_share_psi_critical", 0.1)
    metrics.set("explained_variance_ratio", 0.7)
    metrics.observe("end_to_end_latency_seconds", np.full(100, 0.03))

    found = scraped(registry)

    assert (found.purchases, found.profiles, found.changes, found.held_back) == (12, 0, 3, 4)
    assert (found.warmup, found.warmup_required) == (7, 2_000)
    assert (found.psi, found.psi_critical, found.explained_variance) == (0.02, 0.1, 0.7)
    assert found.latency == pytest.approx((0.0375, 0.04975))


def bucket(bound: str, count: float) -> Sample:
    return Sample("x_bucket", {"le": bound}, count)


def test_a_quantile_lies_within_its_bucket() -> None:
    buckets = [bucket("+Inf", 10), bucket("1.0", 4), bucket("2.0", 8)]

    assert quantile(buckets, 0.5) == pytest.approx(1.25)
    assert quantile(buckets, 0.99) == 2.0
    assert quantile([bucket("1.0", 0), bucket("+Inf", 0)], 0.5) is None
    assert quantile([], 0.5) is None


def test_a_worker_that_does_not_answer_has_no_figures() -> None:
    [port] = free_ports(1)

    assert scrape(port) is None
