"""Dashboard for operators: health, lag, latency, throughput, transactions and faults."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana.panels import (
    Panel,
    Query,
    dashboard,
    gauge,
    increase,
    lines,
    number,
    rate,
)

LATENCY = "sum by (le) (rate(livesegments_end_to_end_latency_seconds_bucket[$__rate_interval]))"
STAGES = "batch_duration_seconds"


def build() -> Dashboard:
    """Return the dashboard."""
    return dashboard(
        "livesegments-operations",
        "Livesegments: operations",
        "Workers, lag, latency, throughput, stages of a batch, transactions, Redis, faults.",
        [
            ("Now", _now()),
            ("Keeping up", _keeping_up()),
            ("Where the time goes", _time()),
            ("Exactly once", _transactions()),
            ("Records that changed nothing", _records()),
            ("Workers", _workers()),
            ("Sources", _sources()),
        ],
    )


def _now() -> list[Panel]:
    return [
        number("Workers ready", "short", "sum(livesegments_worker_ready)"),
        number("Lag", "s", "max(livesegments_consumer_lag_seconds)"),
        number("Latency, p99", "s", f"histogram_quantile(0.99, {LATENCY})"),
        number("Events a second", "cps", rate("events_processed_total")[0]),
        number(
            *("Model changed", "s"),
            "time() - max(livesegments_model_last_update_timestamp_seconds)",
            about="Time since.",
        ),
        number(
            *("Warm-up", "percentunit"),
            "clamp_max(max(livesegments_warmup_customers)"
            " / max(livesegments_warmup_customers_required), 1)",
            about="Customers seen of those that the first fit needs.",
        ),
    ]


def _keeping_up() -> list[Panel]:
    return [
        lines("Lag in records", "short", gauge("consumer_lag_records", "topic", how="sum")),
        lines(
            *("Lag in time", "s"),
            gauge("consumer_lag_seconds", "partition", "partition {{partition}}"),
        ),
        lines(
            *("Event to published change", "s"),
            *((f"histogram_quantile({q}, {LATENCY})", f"p{q * 100:g}") for q in (0.5, 0.95, 0.99)),
        ),
        lines(
            *("Throughput", "cps"),
            rate("events_consumed_total", "topic", "{{topic}} polled"),
            rate("events_processed_total", "topic", "{{topic}} committed"),
            width=12,
        ),
        lines(
            *("Changes", "cps", rate("changes_total", legend="published")),
            rate("changes_suppressed_total", "reason", "held back by {{reason}}"),
            width=12,
        ),
    ]


def _time() -> list[Panel]:
    spent, legend = rate(f"{STAGES}_sum", "stage")
    return [
        lines(
            *("Share of the workers' time", "percentunit", (spent, legend)),
            stacked=True,
            about="Of one worker 1 is all its time; poll waits for records.",
        ),
        lines(
            *("Mean time of a stage", "s"),
            (
                f"{spent} / sum by (stage)"
                f" (rate(livesegments_{STAGES}_count[$__rate_interval]) > 0)",
                legend,
            ),
        ),
        lines(
            *("Redis and Kafka, p99", "s"),
            (
                "histogram_quantile(0.99, sum by (stage, le) (rate(livesegments_"
                f'{STAGES}_bucket{{stage=~"read|commit|publish"}}[$__rate_interval])))',
                legend,
            ),
            about="read and commit are trips to Redis, publish waits for the transaction before.",
        ),
    ]


def _transactions() -> list[Panel]:
    return [
        lines("Transactions", "cps", rate("transactions_total", "outcome"), width=6),
        lines("Fences", "short", increase("fences_total", "by", "by {{by}}"), width=6),
        lines(
            *("Rebalances", "short"),
            increase("rebalances_total", legend="rebalances", how="max"),
            increase("takeovers_total", "verdict", "takeovers: {{verdict}}"),
            width=6,
        ),
        lines(
            *("Rebuilding", "short"),
            gauge("recoveries_running", legend="partitions rebuilt from Kafka", how="sum"),
            gauge("partition_sync_age_seconds", legend="longest scoring under a new generation, s"),
            width=6,
        ),
    ]


def _records() -> list[Panel]:
    return [
        lines("Dead letters", "cps", rate("dead_letters_total", "reason"), width=12),
        lines(
            *("Skipped", "cps", rate("events_skipped_total", "reason")),
            rate("event_id_conflicts_total", legend="event id of another purchase, counted"),
            width=12,
            about="Valid, and rightly without effect; reused event ids count.",
        ),
    ]


def _workers() -> list[Panel]:
    return [
        lines(
            *("Dependencies", "short", gauge("dependency_up", "dependency", how="min")),
            gauge("worker_ready", legend="worker ready", how="min"),
            width=6,
            about="0 when a worker's last call failed.",
        ),
        lines(
            *("Customers a worker holds", "short"),
            gauge("segment_customers", "instance", how="sum"),
            width=6,
        ),
        lines("Memory", "bytes", _of_process("process_resident_memory_bytes"), width=6),
        lines(
            *("CPU", "percentunit"),
            _of_process("rate(process_cpu_seconds_total[$__rate_interval])"),
            width=6,
        ),
    ]


def _of_process(expression: str) -> Query:
    return f"{expression} and on (instance) livesegments_build_info", "{{instance}}"


def _sources() -> list[Panel]:
    return [
        lines("Records of sources", "cps", rate("ingest_records_total", "source", "{{source}}")),
        lines(
            *("Lag of sources", "short"),
            gauge("ingest_lag_records", "source", "{{source}}", how="sum"),
        ),
        lines(
            *("Dead letters of sources", "cps"),
            rate("ingest_dead_letters_total", "source", "{{source}}"),
        ),
    ]
