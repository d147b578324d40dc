"""Dashboard for operators: health, lag, latency, throughput, transactions and faults."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana.panels import Panel, dashboard, lines, number

LATENCY = "sum by (le) (rate(livesegments_end_to_end_latency_seconds_bucket[$__rate_interval]))"
STAGES = "livesegments_batch_duration_seconds"


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
        ],
    )


def _now() -> list[Panel]:
    return [
        number("Workers ready", "short", "sum(livesegments_worker_ready)"),
        number("Lag", "s", "max(livesegments_consumer_lag_seconds)"),
        number("Latency, p99", "s", f"histogram_quantile(0.99, {LATENCY})"),
        number(
            *("Events a second", "cps"),
            "sum(rate(livesegments_events_processed_total[$__rate_interval]))",
        ),
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
        lines(
            *("Lag in records", "short"),
            ("sum by (topic) (livesegments_consumer_lag_records)", "{{topic}}"),
        ),
        lines(
            *("Lag in time", "s"),
            ("max by (partition) (livesegments_consumer_lag_seconds)", "partition {{partition}}"),
        ),
        lines(
            *("Event to published change", "s"),
            *((f"histogram_quantile({q}, {LATENCY})", f"p{q * 100:g}") for q in (0.5, 0.95, 0.99)),
        ),
        lines(
            *("Throughput", "cps"),
            (
                "sum by (topic) (rate(livesegments_events_consumed_total[$__rate_interval]))",
                "{{topic}} polled",
            ),
            (
                "sum by (topic) (rate(livesegments_events_processed_total[$__rate_interval]))",
                "{{topic}} committed",
            ),
            width=12,
        ),
        lines(
            *("Changes", "cps"),
            ("sum(rate(livesegments_changes_total[$__rate_interval]))", "published"),
            (
                "sum by (reason) (rate(livesegments_changes_suppressed_total[$__rate_interval]))",
                "held back by {{reason}}",
            ),
            width=12,
        ),
    ]


def _time() -> list[Panel]:
    return [
        lines(
            *("Share of the workers' time", "percentunit"),
            (f"sum by (stage) (rate({STAGES}_sum[$__rate_interval]))", "{{stage}}"),
            stacked=True,
            about="Of one worker 1 is all its time; poll waits for records.",
        ),
        lines(
            *("Mean time of a stage", "s"),
            (
                f"sum by (stage) (rate({STAGES}_sum[$__rate_interval]))"
                f" / sum by (stage) (rate({STAGES}_count[$__rate_interval]) > 0)",
                "{{stage}}",
            ),
        ),
        lines(
            *("Redis and Kafka, p99", "s"),
            (
                "histogram_quantile(0.99, sum by (stage, le) (rate("
                f'{STAGES}_bucket{{stage=~"read|commit|publish"}}[$__rate_interval])))',
                "{{stage}}",
            ),
            about="read and commit are trips to Redis, publish waits for the transaction before.",
        ),
    ]


def _transactions() -> list[Panel]:
    return [
        lines(
            *("Transactions", "cps"),
            (
                "sum by (outcome) (rate(livesegments_transactions_total[$__rate_interval]))",
                "{{outcome}}",
            ),
            width=6,
        ),
        lines(
            *("Fences", "short"),
            ("sum by (by) (increase(livesegments_fences_total[$__rate_interval]))", "by {{by}}"),
            width=6,
        ),
        lines(
            *("Rebalances", "short"),
            ("max(increase(livesegments_rebalances_total[$__rate_interval]))", "rebalances"),
            (
                "sum by (verdict) (increase(livesegments_takeovers_total[$__rate_interval]))",
                "takeovers: {{verdict}}",
            ),
            width=6,
        ),
        lines(
            *("Rebuilding", "short"),
            ("sum(livesegments_recoveries_running)", "partitions rebuilt from Kafka"),
            (
                "max(livesegments_partition_sync_age_seconds)",
                "longest scoring under a new generation, s",
            ),
            width=6,
        ),
    ]


def _records() -> list[Panel]:
    return [
        lines(
            *("Dead letters", "cps"),
            (
                "sum by (reason) (rate(livesegments_dead_letters_total[$__rate_interval]))",
                "{{reason}}",
            ),
            width=12,
        ),
        lines(
            *("Skipped", "cps"),
            (
                "sum by (reason) (rate(livesegments_events_skipped_total[$__rate_interval]))",
                "{{reason}}",
            ),
            width=12,
            about="Valid, and rightly without effect.",
        ),
    ]


def _workers() -> list[Panel]:
    return [
        lines(
            *("Dependencies", "short"),
            ("min by (dependency) (livesegments_dependency_up)", "{{dependency}}"),
            ("min(livesegments_worker_ready)", "worker ready"),
            width=6,
            about="0 when a worker's last call failed.",
        ),
        lines(
            *("Customers a worker holds", "short"),
            ("sum by (instance) (livesegments_segment_customers)", "{{instance}}"),
            width=6,
        ),
        lines(
            *("Memory", "bytes"),
            (
                "process_resident_memory_bytes and on (instance) livesegments_build_info",
                "{{instance}}",
            ),
            width=6,
        ),
        lines(
            *("CPU", "percentunit"),
            (
                "rate(process_cpu_seconds_total[$__rate_interval])"
                " and on (instance) livesegments_build_info",
                "{{instance}}",
            ),
            width=6,
        ),
    ]
