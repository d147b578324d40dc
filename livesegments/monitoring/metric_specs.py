"""Every time series that a process exposes, as one table for each command.

`livesegments.monitoring.metrics` builds those of a worker from it, and docs/metrics.md is generated
from all.
"""

from livesegments.features.feature_specs import CATALOGUE
from livesegments.monitoring.series import (
    DURATION_BUCKETS,
    LATENCY_BUCKETS,
    UNKNOWN,
    Series,
)

TABLE: tuple[Series, ...] = (
    # Events
    Series("events_consumed_total", "counter", ("topic",), "records", "Records polled."),
    Series(
        *("events_processed_total", "counter", ("topic",), "events"),
        "Events aggregated into customer records and committed.",
    ),
    Series(
        *("events_skipped_total", "counter", ("reason",), "events"),
        "Valid events that change nothing, as they should.",
    ),
    Series(
        *("event_id_conflicts_total", "counter", (), "purchases"),
        "Purchases with the event id of an earlier one and other content. They count: the id is no "
        "event id.",
    ),
    Series(
        *("dead_letters_total", "counter", ("reason",), "records"),
        "Records that can never be processed, sent to the dead-letter topic.",
    ),
    # Changes
    Series(
        *("changes_total", "counter", ("from", "to", "origin"), "changes"),
        "Changes of a customer's published segment; none means no segment.",
    ),
    Series(
        *("changes_suppressed_total", "counter", ("reason",), "changes"),
        "Changes held back because the new centroid is not nearer by the margin or the customer "
        "entered the present segment too recently (dwell).",
    ),
    # Time spent
    Series(
        *("end_to_end_latency_seconds", "histogram", (), "seconds"),
        "From an input record's timestamp to the commit of the transaction that publishes it.",
        buckets=LATENCY_BUCKETS,
    ),
    Series(
        *("batch_duration_seconds", "histogram", ("stage",), "seconds"),
        "Time that a micro-batch spends in a stage: read and commit are its two round trips to "
        "Redis, assign includes the aggregation, publish waits for the previous transaction and "
        "hands over the next one.",
        buckets=DURATION_BUCKETS,
    ),
    # Kafka and Redis
    Series(
        *("consumer_lag_records", "gauge", ("topic", "partition"), "records"),
        "Records in an input partition that are not yet committed.",
    ),
    Series(
        *("consumer_lag_seconds", "gauge", ("partition",), "seconds"),
        "Age of the last committed purchase of a partition while newer ones wait; 0 when none do.",
        over_workers="max",
        initial=UNKNOWN,
    ),
    Series(
        *("rebalances_total", "counter", (), "rebalances"),
        "Rebalances of the consumer group that this worker took part in.",
        over_workers="max",
    ),
    Series(
        *("transactions_total", "counter", ("outcome",), "transactions"),
        "Kafka transactions: committed, or aborted after an error.",
    ),
    Series(
        *("fences_total", "counter", ("by",), "refusals"),
        "Commits rejected because another worker owns the partition now.",
    ),
    Series(
        *("worker_ready", "gauge", (), "1 or 0"),
        "1 if the worker is in the group and processes its partitions.",
        over_workers="min",
    ),
    Series(
        *("clock_error_seconds", "gauge", ("clock",), "s"),
        "Time by which the worker's wall clock is ahead of that of Redis or, as far as its records "
        "show, of the broker; negative if behind. Beyond 300 either way the worker pauses. "
        "`partition`: time by which the clock of a partition it owns is ahead of that of Redis.",
        over_workers="max",
        initial=UNKNOWN,
    ),
    Series(
        *("takeovers_total", "counter", ("verdict",), "takeovers"),
        "Partitions taken over, by the state of the store: empty (fresh), current, or to be "
        "rebuilt from Kafka (recover).",
    ),
    Series(
        *("recoveries_running", "gauge", (), "partitions"),
        "Partitions that are being rebuilt from Kafka.",
    ),
    Series(
        *("dependency_up", "gauge", ("dependency",), "1 or 0"),
        "1 if the last call to a dependency succeeded.",
        over_workers="min",
        initial=UNKNOWN,
    ),
    Series(
        *("partition_sync_age_seconds", "gauge", ("partition",), "seconds"),
        "Time since an owned partition was last part of the global model: 0 while it is, rising "
        "while its customers are scored again under a new generation.",
        over_workers="max",
        initial=UNKNOWN,
    ),
    # Segments and clusters
    Series(
        *("segment_customers", "gauge", ("segment", "partition"), "customers"),
        "Customers of a partition in the statistical cluster behind a segment.",
    ),
    Series(
        *("cluster_customers", "gauge", ("segment",), "customers"),
        "Customers in the statistical cluster behind a segment, over all partitions; an empty "
        "cluster keeps its last centroid.",
        over_workers="max",
        initial=UNKNOWN,
    ),
    Series(
        *("warmup_customers", "gauge", (), "customers"),
        "Customers with a purchase during the warm-up, over all partitions.",
        over_workers="max",
    ),
    Series(
        *("warmup_customers_required", "gauge", (), "customers"),
        "Customers required for the first generation of the model.",
        over_workers="max",
    ),
    # Model and drift: each worker reports the global model as it sees it
    *(
        Series(name, "gauge", labels, unit, meaning, over_workers="max", initial=UNKNOWN)
        for name, labels, unit, meaning in (
            (
                *("centroid_position_stddevs", ("segment", "feature"), "standard deviations"),
                "Position of a centroid relative to the mean of all customers, by the standard "
                "deviations at the fit of the generation.",
            ),
            (
                *("centroid_natural_units", ("segment", "feature"), "the feature's"),
                "Mean of a cluster's customers, by the features of the segmentation: "
                + "; ".join(each.title.lower().replace(":", ",") for each in CATALOGUE)
                + ". Geometric where the model takes logarithms.",
            ),
            (
                *("centroid_shift_stddevs", ("segment",), "standard deviations"),
                "Distance of a centroid from its position at the start of the generation, by the "
                "standard deviations of then, root mean square over the known features.",
            ),
            (
                *("persona_distance_stddevs", ("segment",), "standard deviations"),
                "Distance of a centroid from the persona of its segment.",
            ),
            (
                *("cluster_mean_squared_distance", ("segment",), "squared standard deviations"),
                "Mean squared distance of a cluster's customers from its centroid.",
            ),
            (
                *("explained_variance_ratio", (), "ratio"),
                "Share of the variance of all customers that the clusters explain.",
            ),
            (
                *("silhouette_score", (), "-1 to 1"),
                "Simplified silhouette (distances to centroids) of a sample of customers; reported "
                "by the worker that owns partition 0.",
            ),
            (
                *("segment_share_psi", (), "population stability index"),
                "Divergence of the shares of the segments from the baseline of the generation.",
            ),
            (
                *("segment_share_psi_critical", (), "population stability index"),
                "Sampling noise of segment_share_psi: only values above it indicate drift.",
            ),
            (
                *("feature_psi", ("feature",), "population stability index"),
                "Divergence of a feature's distribution, in a sample of customers, from that at "
                "the fit of the generation; unknown values are a bin of their own. Reported by the "
                "worker that owns partition 0.",
            ),
            (
                *("feature_psi_critical", ("feature",), "population stability index"),
                "Sampling noise of feature_psi: only values above it indicate drift.",
            ),
            (
                *("scaler_mean", ("feature",), "the feature's"),
                "Mean of a feature over all customers.",
            ),
            (
                *("scaler_stddev", ("feature",), "the feature's"),
                "Standard deviation of a feature over all customers.",
            ),
            (
                *("model_last_update_timestamp_seconds", (), "seconds since 1970"),
                "Time of the last change of the global model (generation or statistics).",
            ),
        )
    ),
    Series(
        *("model_generation", "gauge", (), "number"),
        "Generation of the model in use; 0 before the first.",
        over_workers="max",
    ),
    Series(
        *("generations_total", "counter", ("trigger",), "generations"),
        "Generations of the model that this worker made: after the warm-up, by a scheduled check, "
        "or on request.",
    ),
    Series(
        *("refit_checks_total", "counter", ("result",), "checks"),
        "Fits of a sample compared with the current centroids: not better by REFIT_GAIN (kept), "
        "better and left to an operator (proposed), or made the next generation (taken).",
    ),
    Series(
        *("refit_gain_ratio", "gauge", (), "ratio"),
        "Relative reduction of the inertia by the fit of the last check; unknown before the first "
        "check of a generation.",
        over_workers="max",
        initial=UNKNOWN,
    ),
    Series(
        *("refit_duration_seconds", "gauge", (), "seconds"),
        "Duration of the last check, which runs in the background.",
        over_workers="max",
        initial=UNKNOWN,
    ),
    Series(
        *("model_provisional", "gauge", (), "1 or 0"),
        "1 if the generation was fitted while windows were still filling: the model then moves by "
        "itself, and drift is expected.",
        over_workers="max",
    ),
    Series(
        *("centroid_travel_stddevs_total", "counter", ("segment",), "standard deviations"),
        "Length of the path of a centroid, without the jumps between generations; root mean square "
        "over the known features.",
        over_workers="max",
    ),
    Series(
        *("drift_detections_total", "counter", ("signal", "detector"), "detections"),
        "Detections of a worker's drift detectors on its customers: on the distance to the nearest "
        "centroid, the changes of segment, and the inertia of micro-batches.",
    ),
    Series(
        *("build_info", "info", ("version", "python"), "always 1"),
        "Version of the software and of Python.",
        over_workers="none",
    ),
)

SERIES: dict[str, Series] = {series.name: series for series in TABLE}

INGEST_TABLE: tuple[Series, ...] = (
    Series(
        *("ingest_records_total", "counter", ("source",), "records"),
        "Records of a source whose transaction is committed.",
    ),
    Series(
        *("ingest_events_total", "counter", ("source",), "events"),
        "Events made of them: the rows of the source's query.",
    ),
    Series(
        *("ingest_filtered_records_total", "counter", ("source",), "records"),
        "Records that the source's query leaves out.",
    ),
    Series(
        *("ingest_dead_letters_total", "counter", ("source", "reason"), "records"),
        "Records of a source sent to the dead-letter topic.",
    ),
    Series(
        *("ingest_transactions_total", "counter", ("source", "outcome"), "transactions"),
        "Kafka transactions of a source: committed, or given up after an error.",
    ),
    Series(
        *("ingest_lag_records", "gauge", ("source", "partition"), "records"),
        "Records in a partition of a source's topic that are not read yet, or not committed.",
    ),
    Series(
        *("ingest_latency_seconds", "histogram", ("source",), "seconds"),
        "From the timestamp of a micro-batch's oldest record to the commit of its transaction.",
        buckets=LATENCY_BUCKETS,
    ),
    Series(
        *("ingest_batch_duration_seconds", "histogram", ("source", "stage"), "seconds"),
        "Time that one micro-batch of a source spends in a stage: transform decodes, queries and "
        "validates; publish waits for the transaction before and hands the next one over.",
        buckets=DURATION_BUCKETS,
    ),
    Series(
        *("ingest_ready", "gauge", ("source",), "1 or 0"),
        "Whether the process is in the consumer group of a source and reads it.",
        over_workers="min",
    ),
)
"""Every time series of ``livesegments ingest``."""

INGEST_SERIES: dict[str, Series] = {series.name: series for series in INGEST_TABLE}

SERVE_TABLE: tuple[Series, ...] = (
    Series(
        *("serve_requests_total", "counter", ("route", "status"), "requests"),
        "Requests that were answered, by route and class of the status.",
    ),
    Series(
        *("serve_request_duration_seconds", "histogram", ("route",), "seconds"),
        "From a request to the beginning of its answer.",
        buckets=LATENCY_BUCKETS,
    ),
    Series(
        *("serve_streams", "gauge", (), "streams"),
        "Open streams of changes.",
    ),
    Series(
        *("serve_history_lag_records", "gauge", (), "records"),
        "Records of the followed topics that the history does not have yet.",
        initial=UNKNOWN,
    ),
    Series(
        *("serve_history_bytes", "gauge", (), "bytes"),
        "Size of the history's file.",
    ),
)
"""Every time series of ``livesegments serve``."""

SERVE_SERIES: dict[str, Series] = {series.name: series for series in SERVE_TABLE}
