"""Dashboard for marketing: segment sizes, moves, centroids and drift."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana.panels import (
    Panel,
    dashboard,
    gauge,
    increase,
    lines,
    matrix,
    number,
    rate,
    total,
)

MOVES = 'livesegments_changes_total{from!="none",to!="none"}'
PURCHASES = 'livesegments_events_processed_total{topic="purchases.v1"}'


def build() -> Dashboard:
    """Return the dashboard."""
    return dashboard(
        "livesegments-business",
        "Livesegments: customers",
        "Segments over time, migrations between them, their centroids and their drift.",
        [
            ("Segments", _segments()),
            ("Migrations", _migrations()),
            ("Centroids: the average customer of each segment", _centroids()),
            ("Drift", _drift()),
        ],
        ("feature", "livesegments_scaler_mean"),
    )


def _segments() -> list[Panel]:
    customers, legend = gauge("cluster_customers", "segment")
    return [
        lines(
            *("Customers by segment", "short", (customers, legend)),
            width=12,
            stacked=True,
            about="Customers with a purchase in the window, in the cluster behind each segment.",
        ),
        lines(
            *("Share of customers", "percentunit"),
            (f"{customers} / on () group_left () sum({customers})", legend),
        ),
        number("Customers", "short", f"sum({customers})"),
    ]


def _migrations() -> list[Panel]:
    moved = f"rate({MOVES}[$__rate_interval])"
    into, out = (
        f'sum by (segment) (label_replace({moved}, "segment", "$1", "{end}", "(.*)"))'
        for end in ("to", "from")
    )
    return [
        matrix(
            *("From (down) to (across)", "short"),
            f"sum by (from, to) (increase({MOVES}[$__range]))",
            row="from",
            column="to",
            width=10,
            about="Published changes of segment in the time shown.",
        ),
        lines(
            *("Net flow", "cps", (f"{into} - {out}", "{{segment}}")),
            width=7,
            about="Customers per second that enter a segment, less those that leave it.",
        ),
        lines(
            *("Changes a purchase", "percentunit"),
            (f"sum({moved}) / sum(rate({PURCHASES}[$__rate_interval]))", "migration rate"),
            width=7,
        ),
        lines(
            *("Published changes by origin", "cps", rate("changes_total", "origin")),
            width=12,
            about="live: a purchase; expiry: none for long; model: a new generation.",
        ),
        lines("Customers lost to another segment", "cps", total(moved, "from"), width=12),
    ]


def _centroids() -> list[Panel]:
    """Return one panel, which Grafana repeats for each feature of the segmentation."""
    means = gauge('centroid_natural_units{feature="$feature"}', "segment")
    return [lines("$feature", "short", means).repeat("feature").max_per_row(3)]


def _drift() -> list[Panel]:
    return [
        lines(
            *("Share drift", "short"),
            gauge("segment_share_psi", legend="stability index"),
            gauge("segment_share_psi_critical", legend="matters above"),
        ),
        lines(
            *("Centroid shift", "short", gauge("centroid_shift_stddevs", "segment")),
            about="Standard deviations from where the generation began.",
        ),
        lines(
            *("Feature drift", "short", gauge("feature_psi", "feature")),
            gauge("feature_psi_critical", legend="matters above"),
        ),
        lines(
            *("How well the clusters hold", "percentunit"),
            gauge("explained_variance_ratio", legend="explained variance"),
            gauge("silhouette_score", legend="silhouette"),
        ),
        lines(
            *("Distance from the persona", "short", gauge("persona_distance_stddevs", "segment")),
            about="Standard deviations between a segment's customers and what its name says.",
        ),
        lines(
            *("Detections", "short"),
            increase("drift_detections_total", "signal, detector", over="1h"),
        ),
        lines(
            *("Where the centroids are", "short"),
            gauge("centroid_position_stddevs", "segment, feature"),
            width=12,
            about="Standard deviations from the average customer.",
        ),
        lines(
            *("Way of the centroids", "short"),
            increase("centroid_travel_stddevs_total", "segment", how="max", over="1h"),
            width=6,
            about="Standard deviations an hour, there and back.",
        ),
        lines(
            *("Generation", "short"),
            gauge("model_generation", legend="generation"),
            gauge("model_provisional", legend="provisional"),
            width=6,
            about="Provisional: fitted before the windows were full; drift is not judged then.",
        ),
    ]
