"""Dashboard for marketing: segment sizes, moves, centroids and drift."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana.panels import Panel, dashboard, lines, matrix, number
from livesegments.features.feature_specs import CATALOGUE

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
    )


def _segments() -> list[Panel]:
    customers = "max by (segment) (livesegments_cluster_customers)"
    return [
        lines(
            *("Customers by segment", "short", (customers, "{{segment}}")),
            width=12,
            stacked=True,
            about="Customers with a purchase in the window, in the cluster behind each segment.",
        ),
        lines(
            *("Share of customers", "percentunit"),
            (f"{customers} / on () group_left () sum({customers})", "{{segment}}"),
        ),
        number("Customers", "short", f"sum({customers})"),
    ]


def _migrations() -> list[Panel]:
    into, out = (
        "sum by (segment) (label_replace("
        f'rate({MOVES}[$__rate_interval]), "segment", "$1", "{end}", "(.*)"))'
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
            "Changes a purchase",
            "percentunit",
            (
                f"sum(rate({MOVES}[$__rate_interval])) / sum(rate({PURCHASES}[$__rate_interval]))",
                "migration rate",
            ),
            width=7,
        ),
        lines(
            *("Published changes by origin", "cps"),
            (
                "sum by (origin) (rate(livesegments_changes_total[$__rate_interval]))",
                "{{origin}}",
            ),
            width=12,
            about="live: a purchase; expiry: none for long; model: a new generation.",
        ),
        lines(
            *("Customers lost to another segment", "cps"),
            (f"sum by (from) (rate({MOVES}[$__rate_interval]))", "{{from}}"),
            width=12,
        ),
    ]


def _centroids() -> list[Panel]:
    return [
        lines(
            *(each.title, "percentunit" if each.most == 1 else "short"),
            (
                f'max by (segment) (livesegments_centroid_natural_units{{feature="{each.name}"}})',
                "{{segment}}",
            ),
        )
        for each in CATALOGUE
    ]


def _drift() -> list[Panel]:
    return [
        lines(
            *("Share drift", "short"),
            ("max(livesegments_segment_share_psi)", "stability index"),
            ("max(livesegments_segment_share_psi_critical)", "matters above"),
        ),
        lines(
            *("Centroid shift", "short"),
            ("max by (segment) (livesegments_centroid_shift_stddevs)", "{{segment}}"),
            about="Standard deviations from where the generation began.",
        ),
        lines(
            *("Feature drift", "short"),
            ("max by (feature) (livesegments_feature_psi)", "{{feature}}"),
            ("max(livesegments_feature_psi_critical)", "matters above"),
        ),
        lines(
            *("How well the clusters hold", "percentunit"),
            ("max(livesegments_explained_variance_ratio)", "explained variance"),
            ("max(livesegments_silhouette_score)", "silhouette"),
        ),
        lines(
            *("Distance from the persona", "short"),
            ("max by (segment) (livesegments_persona_distance_stddevs)", "{{segment}}"),
            about="Standard deviations between a segment's customers and what its name says.",
        ),
        lines(
            *("Detections", "short"),
            (
                "sum by (signal, detector) (increase(livesegments_drift_detections_total[1h]))",
                "{{signal}} {{detector}}",
            ),
        ),
        lines(
            *("Where the centroids are", "short"),
            (
                "max by (segment, feature) (livesegments_centroid_position_stddevs)",
                "{{segment}} {{feature}}",
            ),
            width=12,
            about="Standard deviations from the average customer.",
        ),
        lines(
            *("Way of the centroids", "short"),
            (
                "max by (segment) (increase(livesegments_centroid_travel_stddevs_total[1h]))",
                "{{segment}}",
            ),
            width=6,
            about="Standard deviations an hour, there and back.",
        ),
        lines(
            *("Generation", "short"),
            ("max(livesegments_model_generation)", "generation"),
            ("max(livesegments_model_provisional)", "provisional"),
            width=6,
            about="Provisional: fitted before the windows were full; drift is not judged then.",
        ),
    ]
