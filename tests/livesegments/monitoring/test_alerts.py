"""Each alert fires when it should and stays quiet otherwise, by Prometheus' own rule tests."""

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.livesegments.monitoring.needs import needs_promtool

ROOT = Path(__file__).parents[3]
ALERTS = ROOT / "deploy" / "alerts.yml"
RUNBOOK = ROOT / "docs" / "runbook.md"

Series = dict[str, str]
"""Series -> its values, a minute apart, in promtool's notation: start+step x count."""


@dataclass(frozen=True)
class Case:
    """Series for which an alert fires, and others for which it is quiet, at a given minute."""

    at: int
    firing: Series
    quiet: Series


def metric(name: str, **labels: str) -> str:
    """Return a series of one worker."""
    worker = {"job": "livesegments", "instance": "a", **labels}
    pairs = ",".join(f'{key}="{value}"' for key, value in worker.items())
    return f"{name}{{{pairs}}}"


def ours(name: str, values: str, **labels: str) -> Series:
    """Return one of our series."""
    return {metric(f"livesegments_{name}", **labels): values}


SETTLED = ours("model_provisional", "0x200")
PROVISIONAL = ours("model_provisional", "1x200")
READY, NOT_READY = ours("worker_ready", "1x60"), ours("worker_ready", "0x60")
REBUILDING = ours("recoveries_running", "1x60")
ROLLOUT = {
    **ours("rebalances_total", "0x10 16x60"),
    **{metric("up", instance=str(number)): "1x60" for number in range(8)},
}
PURCHASES = ours("events_processed_total", "0+600x60", topic="purchases.v1")


def latency(fast: int, slow: int) -> Series:
    """Return a histogram with a number of changes per minute within 0.25 s and within 2.5 s."""
    return {
        **ours("end_to_end_latency_seconds_bucket", f"0+{fast}x60", le="0.25"),
        **ours("end_to_end_latency_seconds_bucket", f"0+{fast + slow}x60", le="2.5"),
        **ours("end_to_end_latency_seconds_bucket", f"0+{fast + slow}x60", le="+Inf"),
    }


def dead(letters: int) -> Series:
    """Return a number of dead letters per minute among 600 records."""
    return {
        **ours("events_consumed_total", "0+600x60", topic="purchases.v1"),
        **ours("dead_letters_total", f"0+{letters}x60", reason="not_json"),
    }


CONSUMED = ours("events_consumed_total", "0+600x90", topic="purchases.v1")


def repeated(events: int) -> Series:
    """Return a number of repeated purchases per minute among 600."""
    return {**CONSUMED, **ours("events_skipped_total", f"0+{events}x90", reason="duplicate")}


def psi(value: float, name: str, **labels: str) -> Series:
    """Return a stability index, with a critical value of 0.1."""
    return {
        **ours(name, f"{value}x200", **labels),
        **ours(f"{name}_critical", "0.1x200", **labels),
    }


WAITING = ours("ingest_lag_records", "70x60", source="orders", partition="0")


def ingested(letters: int) -> Series:
    """Return a number of dead letters per minute among 600 records of a source."""
    return {
        **ours("ingest_records_total", "0+600x60", source="orders"),
        **ours("ingest_dead_letters_total", f"0+{letters}x60", source="orders", reason="not_json"),
    }


CASES = {
    "NoWorkers": Case(5, {metric("up"): "0x60"}, {metric("up"): "1x60"}),
    "WorkerDown": Case(
        *(5, {metric("up"): "0x60"}),
        {metric("up"): "0 0 1x60"},
    ),
    "WorkerRestarting": Case(
        30,
        {metric("process_start_time_seconds"): "1x4 2x4 3x4 4x4 5x20"},
        {metric("process_start_time_seconds"): "1x4 2x60"},
    ),
    "WorkerNotReady": Case(10, NOT_READY, {**NOT_READY, **REBUILDING}),
    "ClocksApart": Case(
        5,
        ours("clock_error_seconds", "-400x60", clock="redis"),
        ours("clock_error_seconds", "299x60", clock="redis"),
    ),
    "DependencyAway": Case(
        5,
        {
            **ours("dependency_up", "0x60", dependency="redis"),
            metric("livesegments_dependency_up", instance="b", dependency="redis"): "1x60",
        },
        ours("dependency_up", "0x1 1x60", dependency="redis"),
    ),
    "LagHigh": Case(
        20,
        ours("consumer_lag_seconds", "200x60", partition="0"),
        ours("consumer_lag_seconds", "200x5 0x60", partition="0"),
    ),
    "LatencyHigh": Case(30, latency(900, 100), latency(999, 1)),
    "TransactionsFailing": Case(
        25,
        ours("transactions_total", "0+1x60", outcome="failed"),
        ours("transactions_total", "0+100x60", outcome="committed"),
    ),
    "WorkersFenced": Case(
        30,
        ours("fences_total", "0+1x60", by="redis"),
        {**ours("fences_total", "0x10 14x60", by="redis"), **ROLLOUT},
    ),
    "RebalancesStorm": Case(30, ours("rebalances_total", "0+1x60"), ROLLOUT),
    "RecoveryLong": Case(40, REBUILDING, ours("recoveries_running", "1x20 0x60")),
    "DeadLetters": Case(25, dead(12), dead(3)),
    "SourceStuck": Case(
        30,
        {**WAITING, **ours("ingest_records_total", "700x60", source="orders")},
        {**WAITING, **ours("ingest_records_total", "0+600x60", source="orders")},
    ),
    "SourceDown": Case(
        20,
        ours("ingest_ready", "1x5 _x60", source="orders"),
        {
            **ours("ingest_ready", "1x5 0x60", source="orders"),
            metric("livesegments_ingest_ready", instance="b", source="orders"): "1x60",
        },
    ),
    "SourceDeadLetters": Case(30, ingested(10), ingested(3)),
    "ServeDown": Case(
        20, ours("serve_history_lag_records", "NaN+0x60"), ours("serve_history_lag_records", "9x60")
    ),
    "WrongPartition": Case(
        20,
        ours("dead_letters_total", "0x10 1x60", reason="wrong_partition"),
        {
            **ours("dead_letters_total", "7x60", reason="wrong_partition"),
            **ours("dead_letters_total", "0+9x60", reason="not_json"),
        },
    ),
    "RepeatsMany": Case(75, repeated(40), repeated(20)),
    "EventIdsReused": Case(
        30,
        {**ours("event_id_conflicts_total", "0x10 1x60"), **CONSUMED},
        {**ours("event_id_conflicts_total", "3x90"), **CONSUMED},
    ),
    "ModelStale": Case(
        40,
        {**PURCHASES, **ours("model_last_update_timestamp_seconds", "0x60")},
        ours("model_last_update_timestamp_seconds", "0x60"),
    ),
    "ScoringLong": Case(
        40,
        ours("partition_sync_age_seconds", "0+60x60", partition="1"),
        ours("partition_sync_age_seconds", "0+60x20 0x60", partition="1"),
    ),
    "ClusterEmpty": Case(
        20,
        ours("cluster_customers", "0x60", segment="students"),
        ours("cluster_customers", "1x60", segment="students"),
    ),
    "CentroidShift": Case(
        90,
        {**SETTLED, **ours("centroid_shift_stddevs", "0.5x200", segment="families")},
        {**PROVISIONAL, **ours("centroid_shift_stddevs", "0.5x200", segment="families")},
    ),
    "ExplainedVarianceDrop": Case(
        190,
        ours("explained_variance_ratio", "0.7x100 0.6x100"),
        ours("explained_variance_ratio", "0.7x100 0.66x100"),
    ),
    "SharesDrift": Case(
        90,
        {**SETTLED, **psi(0.2, "segment_share_psi")},
        {**SETTLED, **psi(0.05, "segment_share_psi")},
    ),
    "FeatureDrift": Case(
        30,
        {**SETTLED, **psi(0.2, "feature_psi", feature="spend")},
        {**PROVISIONAL, **psi(0.2, "feature_psi", feature="spend")},
    ),
    "RefitNeeded": Case(
        20, ours("refit_gain_ratio", "0.05x60"), ours("refit_gain_ratio", "0.01x60")
    ),
    "DriftDetected": Case(
        30,
        ours("drift_detections_total", "0x10 1x60", signal="distance", detector="adwin"),
        ours("drift_detections_total", "0x60", signal="distance", detector="adwin"),
    ),
}


def names() -> list[str]:
    """Return the alerts of the file."""
    return re.findall(r"- alert: (\w+)", ALERTS.read_text())


def test_each_alert_has_a_case_here() -> None:
    assert names() == list(CASES)


SERVED = 'up{job="livesegments-serve",instance="s"}'
MORE_CASES = {
    "a server answers no scrape": ("ServeDown", Case(20, {SERVED: "1x5 0x60"}, {SERVED: "1x60"})),
    "a server is no target any more": ("ServeDown", Case(30, {SERVED: "1x5"}, {})),
}
"""Other causes of an alert."""


def test_each_alert_has_a_section_in_the_runbook_and_leads_there() -> None:
    sections = re.findall(r"^## (\w+)$", RUNBOOK.read_text(), re.MULTILINE)
    assert sections == names()
    urls = re.findall(r"runbook_url: docs/runbook\.md#(\w+)", ALERTS.read_text())
    assert urls == [name.lower() for name in names()]


def test_each_alert_says_how_bad_it_is() -> None:
    severities = re.findall(r"severity: (\w+)", ALERTS.read_text())
    assert len(severities) == len(names())
    assert set(severities) == {"critical", "warning", "info"}


def promtool(*arguments: str | Path) -> None:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_promtool_accepts_the_rules() -> None:
    promtool("check", "rules", ALERTS)


@needs_promtool
@pytest.mark.parametrize(
    ("alert", "case"), [*CASES.items(), *MORE_CASES.values()], ids=[*CASES, *MORE_CASES]
)
def test_an_alert_fires_when_it_should_and_not_else(alert: str, case: Case, tmp_path: Path) -> None:
    firing = f'ALERTS{{alertname="{alert}",alertstate="firing"}}'
    tests = [
        {
            "interval": "1m",
            "input_series": [{"series": s, "values": values} for s, values in series.items()],
            "promql_expr_test": [
                {
                    "expr": f"count({firing}) or vector(0)",
                    "eval_time": f"{case.at}m",
                    "exp_samples": [{"labels": "{}", "value": fires}],
                }
            ],
        }
        for series, fires in ((case.firing, 1), (case.quiet, 0))
    ]
    document = {"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": tests}
    file = tmp_path / "tests.json"  # JSON is YAML
    file.write_text(json.dumps(document))
    promtool("test", "rules", file)
