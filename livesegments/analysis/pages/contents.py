"""Contents of the pages of a running deployment, from its store, its history and a survey."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from pydantic import ValidationError
from redis.exceptions import RedisError

from livesegments.analysis.customer.answer import nothing_kept
from livesegments.analysis.customer.lookup import CustomerError, look_up
from livesegments.analysis.customer.query import answer_now
from livesegments.analysis.customer.text_view import BECAUSE, moves_of
from livesegments.analysis.pages.changes import changes_of, latest_changes
from livesegments.analysis.pages.data import poll_sources, quality, refused_examples
from livesegments.analysis.pages.lists import list_names
from livesegments.analysis.pages.model import generations
from livesegments.analysis.pages.report import display
from livesegments.analysis.pages.segments import DAY_S, HOUR_S, Period, segments_page, sizes_now
from livesegments.analysis.pages.surveys import Surveyed, Surveys
from livesegments.analysis.segments import describe
from livesegments.analysis.survey.context import DeploymentContext, DeploymentReader, ReportError
from livesegments.analysis.watch.pollers import poll_group
from livesegments.analysis.watch.polling_thread import PollingThread
from livesegments.config.clients import kafka_config, open_store
from livesegments.config.settings import Settings
from livesegments.contracts.events import CUSTOMER_ID
from livesegments.history.database import History
from livesegments.operations.model_loader import NoModelError
from livesegments.rendering.templates import moment_us

PERIODS = {
    "day": (24, HOUR_S),
    "week": (7 * 24, HOUR_S),
    "month": (30, DAY_S),
    "year": (365, DAY_S),
}
LATEST, CHANGES = 20, 20
GROUP_SECONDS = 3.0

Content = tuple[str, dict[str, Any]]
"""Template of a page's content, and its variables."""


class Contents:
    """Contents of the pages; any number of threads may ask for them at the same time.

    Attributes
    ----------
    surveys
        Surveys of the customers.
    group, sources
        Polls of the consumer groups of workers and of sources.
    """

    def __init__(
        self,
        settings: Settings,
        history: History,
        reader: DeploymentReader,
        explain: Callable[[Exception], str],
    ) -> None:
        self._settings, self._history, self._reader = settings, history, reader
        self._explain = explain
        self._store = open_store(settings, 5.0)
        self._segmentation = settings.read_segmentation()
        self._names = {each.id: each.name for each in self._segmentation.segments}
        self._context: DeploymentContext | None = None
        self.surveys = Surveys(settings, reader, history, explain)
        self.group, self.sources = (
            PollingThread(
                "Kafka",
                partial(poll, kafka_config(settings), settings.group_id),
                GROUP_SECONDS,
                explain,
            )
            for poll in (poll_group, poll_sources)
        )

    def close(self) -> None:
        """Close the connection to the store."""
        self._store.redis.close()

    def of(self, path: str, period: str) -> Content:
        """Return the content of a page, one of `PAGES` but for the customers'."""
        if path == "/model":
            with self._history.cursor() as cursor:
                found = generations(cursor, self._segmentation)
            return "model", {"generations": found, "features": self._segmentation.features}
        context, note = self._now()
        surveyed = self.surveys.latest
        if context is not None and path == "/":
            return self._segments(context, period)
        if context is None or surveyed is None:
            under_way = "The first survey of the customers is under way."
            return "waiting", {"note": note or self.surveys.trouble or under_way}
        return self._audiences(surveyed) if path == "/audiences" else self._data(surveyed)

    def _now(self) -> tuple[DeploymentContext | None, str]:
        """Return the newest known state, and why it is not that of now."""
        try:
            self._context = self._reader.read()
        except (NoModelError, ReportError) as error:
            return None, str(error)
        except RedisError as error:
            return self._context, self._explain(error)
        return self._context, ""

    def _segments(self, context: DeploymentContext, chosen: str) -> Content:
        steps, seconds = PERIODS[chosen]
        surveyed = self.surveys.latest
        fresh = surveyed is not None and (
            surveyed.survey.generation == context.model.generation.number
        )
        binned = surveyed.survey.binned if surveyed and fresh else []
        with self._history.cursor() as cursor:
            clock_us, contactable = cursor.execute(
                "SELECT (SELECT epoch_us(max(hour)) FROM moves),"
                " (SELECT count(*) FROM customers WHERE marketing AND segment IS NOT NULL)"
            ).fetchall()[0]
            clock_us = clock_us or 0
            if self._settings.clock == "wall":
                clock_us = max(clock_us, time.time_ns() // 1_000)
            period = Period.until(clock_us, steps, seconds)
            report = segments_page(cursor, context, period, sizes_now(cursor), binned)
            latest = latest_changes(cursor, self._names, LATEST)
        facts = [
            ("Customers in a segment", f"{report['customers']:,}"),
            ("May be contacted", f"{contactable / max(report['customers'], 1):.0%}"),
            ("Changes of segment", f"{sum(map(sum, report['moves'].values())):,}"),
        ]
        return "segments", {
            "about": _units(context),
            "report": report,
            "facts": facts,
            "latest": latest,
            "periods": list(PERIODS),
            "chosen": chosen,
            **display(report),
        }

    def _audiences(self, surveyed: Surveyed) -> Content:
        context = surveyed.context
        sizes = {each["segment"]: each["customers"] for each in surveyed.audiences["targets"]}
        report = surveyed.audiences | {
            "segments": describe(context.model, context.rules.segmentation, sizes),
        }
        return "audiences", {
            "about": f"As of {moment_us(round(surveyed.survey.began_s * 1e6))}, from a survey of"
            f" all customers. {_units(context)} Customers are named by a keyed hash of their id.",
            "report": report,
            "lists": list_names(context.rules.segment_ids),
            **display(report),
        }

    def _data(self, surveyed: Surveyed) -> Content:
        deployment = surveyed.context.deployment
        group = self.group.latest
        with self._history.cursor() as cursor:
            report = {
                "quality": quality(cursor, surveyed.survey, deployment),
                "window_days": deployment.window_days,
            }
            examples = refused_examples(cursor)
        return "data", {
            "report": report,
            "examples": examples,
            "service": [
                ("Workers", group.get("workers")),
                ("Records not processed yet", group.get("lag")),
                ("Partitions", deployment.partitions),
                ("Partitioner", deployment.partitioner),
            ],
            "sources": self.sources.latest.get("sources", ()),
        }

    def of_customer(self, wanted: str) -> tuple[Content, int]:
        """Return the content of the page of a customer, and the HTTP status."""
        try:
            values = self._look_up(wanted) if wanted else {"customer": None}
        except RedisError as error:
            return ("waiting", {"note": self._explain(error)}), 503
        status = 404 if wanted and not values["customer"] else 200
        return ("customer", {"wanted": wanted} | values), status

    def _look_up(self, wanted: str) -> dict[str, Any]:
        nothing: dict[str, Any] = {"customer": None}
        try:
            found = look_up(self._store, CUSTOMER_ID.validate_python(wanted))
        except (ValidationError, CustomerError, NoModelError):
            return nothing
        if nothing_kept(found) is not None:
            return nothing
        context, _ = self._now()
        answer = answer_now(self._settings, found, context.model if context else None)
        with self._history.cursor() as cursor:
            changes = changes_of(cursor, self._names, wanted, CHANGES, found.marker.cutoff_us)
        because = answer["because"]
        return {
            "customer": answer | {"because": because and BECAUSE[because]},
            "moments": moves_of(answer),
            "changes": changes,
        }


def _units(context: DeploymentContext) -> str:
    deployment = context.deployment
    return (
        f"Purchases and spend are those of the last {deployment.window_days} days, in"
        f" {deployment.currency}."
    )
