"""The pages of a running deployment, as `livesegments serve` serves them."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.resources import files
from typing import Any

import structlog
from pydantic import ValidationError
from redis.exceptions import RedisError

from livesegments.analysis.customer.answer import nothing_kept
from livesegments.analysis.customer.lookup import CustomerError, look_up
from livesegments.analysis.customer.query import answer_now
from livesegments.analysis.customer.text_view import BECAUSE, moves_of
from livesegments.analysis.pages.changes import changes_of, latest_changes
from livesegments.analysis.pages.data import poll_sources, quality, refused_examples
from livesegments.analysis.pages.lists import Lists
from livesegments.analysis.pages.model import generations, preview
from livesegments.analysis.pages.report import display
from livesegments.analysis.pages.segments import DAY_S, HOUR_S, Period, segments_page, sizes_now
from livesegments.analysis.pages.surveys import Surveyed, Surveys
from livesegments.analysis.segments import describe
from livesegments.analysis.survey.context import DeploymentContext, DeploymentReader, ReportError
from livesegments.analysis.transitions import NONE
from livesegments.analysis.watch.pollers import poll_group
from livesegments.analysis.watch.polling_thread import PollingThread
from livesegments.config.clients import kafka_config, open_store
from livesegments.config.error_messages import explain
from livesegments.config.settings import Settings
from livesegments.contracts.events import CUSTOMER_ID
from livesegments.history.database import History
from livesegments.operations.model_loader import NoModelError
from livesegments.rendering.templates import compile_pages, moment_us, render

log = structlog.get_logger()

PAGES = {
    "/": "Segments",
    "/customers": "Customers",
    "/audiences": "Audiences",
    "/model": "Model",
    "/data": "Data",
}
PERIODS = {
    "day": (24, HOUR_S),
    "week": (7 * 24, HOUR_S),
    "month": (30, DAY_S),
    "year": (365, DAY_S),
}
ASSETS = {"live.js": "text/javascript", "page.css": "text/css"}
_PACKAGES = {"live.js": "livesegments.analysis.pages", "page.css": "livesegments.rendering"}

LATEST, CHANGES = 20, 20
GROUP_SECONDS, STOP_SECONDS = 3.0, 5.0
TICK_SECONDS = 10
"""A page without changes is brought up to date this often."""
PREVIEW_SECONDS = 30.0

Query = Mapping[str, str]
Content = tuple[str, dict[str, Any]]
"""Template of a page's content, and its variables."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page and its HTTP status."""

    html: str
    status: int = 200


@cache
def asset(name: str) -> bytes:
    """Return the content of a static file, one of `ASSETS`."""
    return files(_PACKAGES[name]).joinpath(name).read_bytes()


@cache
def _assets() -> str:
    return hashlib.sha256(b"".join(map(asset, ASSETS))).hexdigest()[:12]


class Site:
    """Renders the pages; any number of threads may ask for them at the same time.

    The history is followed by somebody else; ``trouble`` returns why its topics cannot be, None if
    they are. With ``login`` the pages need a session.
    """

    def __init__(
        self,
        settings: Settings,
        history: History,
        reader: DeploymentReader,
        trouble: Callable[[], Exception | None],
        *,
        login: bool = False,
    ) -> None:
        self._login = login
        self._settings, self._history, self._trouble = settings, history, trouble
        self._explain = partial(explain, settings=settings)
        self._store = open_store(settings, 5.0)
        self._reader = reader
        self._segmentation = settings.read_segmentation()
        self._names = {each.id: each.name for each in self._segmentation.segments}
        self._all_names = self._names | {NONE: "No segment"}
        config = kafka_config(settings)
        self._surveys = Surveys(settings, self._reader, history, self._explain)
        self._group = PollingThread(
            "Kafka", partial(poll_group, config, settings.group_id), GROUP_SECONDS, self._explain
        )
        self._sources = PollingThread(
            "Kafka", partial(poll_sources, config, settings.group_id), GROUP_SECONDS, self._explain
        )
        self._stopping = threading.Event()
        self._surveying = threading.Thread(
            target=self._surveys.run, args=(self._stopping,), name="surveys", daemon=True
        )
        self._context: DeploymentContext | None = None
        self._rendered: dict[tuple[str, str], tuple[str, Page]] = {}
        self._preview: tuple[float, dict[str, Any]] | None = None
        self._previewing = threading.Lock()

    def start(self) -> None:
        """Begin to survey the customers and to watch the groups."""
        compile_pages()
        self._surveying.start()
        self._group.start()
        self._sources.start()

    def stop(self) -> None:
        """Stop, and a survey under way."""
        self._stopping.set()
        self._surveys.stop()
        if self._surveying.ident is not None:
            self._surveying.join(STOP_SECONDS)
        self._group.stop()
        self._sources.stop()
        self._store.redis.close()

    @property
    def version(self) -> str:
        """Text that differs once there is something new to show."""
        tick = int(time.time()) // TICK_SECONDS
        return f"{self._history.version}.{self._surveys.number}.{tick}"

    def page(self, path: str, query: Query) -> Page:
        """Return a page, one of `PAGES`."""
        version = self.version
        if not self._history.filled:  # it has no tables yet
            note = "The history is being read from Kafka."
            return self._served(PAGES[path], version, ("waiting", {"note": note}), 503)
        chosen = query.get("period", "month")
        key = path, chosen if chosen in PERIODS else "month"
        if path == "/customers":
            content, status = self._customer(query.get("id", ""))
            return self._served(PAGES[path], version, content, status)
        if (cached := self._rendered.get(key)) and cached[0] == version:
            return cached[1]
        page = self._served(PAGES[path], version, self._content(path, key[1]))
        self._rendered[key] = version, page
        return page

    def list_names(self) -> list[str]:
        """Return the names of the lists."""
        targets = [f"target-{each}" for each in self._segmentation.segment_ids]
        return [*targets, "retention", "cross-sell"]

    def list_rows(self, name: str) -> Iterator[Sequence[Any]] | None:
        """Return header and rows of a list of customers who consent now; None before a survey."""
        surveyed = self._surveys.latest
        return None if surveyed is None else self._list_rows(name, surveyed)

    def _list_rows(self, name: str, surveyed: Surveyed) -> Iterator[Sequence[Any]]:
        with self._history.cursor() as cursor:
            yield from Lists(cursor, surveyed.context, surveyed.period, "customers").rows(name)

    def login_page(self, target: str, wrong: str = "") -> Page:
        """Return the form that asks for the token."""
        html = render("analysis/pages/login.html.j2", assets=_assets(), next=target, wrong=wrong)
        return Page(html, 401 if wrong else 200)

    def preview(self) -> Page:
        """Return the page that previews a refit; the fit is as old as half a minute at most."""
        version = self.version
        with self._previewing:
            if self._preview is None or time.monotonic() - self._preview[0] > PREVIEW_SECONDS:
                found = preview(self._settings, self._all_names, self._explain)
                self._preview = time.monotonic(), found
            values = self._preview[1]
        return self._served("Model", version, ("preview", {"names": self._all_names} | values))

    def _content(self, path: str, period: str) -> Content:
        if path == "/model":
            with self._history.cursor() as cursor:
                found = generations(cursor, self._segmentation)
            return "model", {"generations": found, "features": self._segmentation.features}
        context, note = self._now()
        surveyed = self._surveys.latest
        if context is not None and path == "/":
            return self._segments(context, period)
        if context is None or surveyed is None:
            under_way = "The first survey of the customers is under way."
            return "waiting", {"note": note or self._surveys.trouble or under_way}
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
        surveyed = self._surveys.latest
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
            " all customers. Customers are named by a keyed hash of their id.",
            "report": report,
            "lists": self.list_names(),
            **display(report),
        }

    def _data(self, surveyed: Surveyed) -> Content:
        deployment = surveyed.context.deployment
        group = self._group.latest
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
            "sources": self._sources.latest.get("sources", ()),
        }

    def _customer(self, wanted: str) -> tuple[Content, int]:
        """Return the content, and the HTTP status."""
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

    def _served(self, title: str, version: str, content: Content, status: int = 200) -> Page:
        template, values = content
        away = self._trouble()
        groups = (each.trouble for each in (self._group, self._sources))
        troubles = [self._explain(away)] if away else [each.why for each in groups if each]
        html = render(
            "analysis/pages/served.html.j2",
            content=f"{template}.html.j2",
            title=title,
            pages=PAGES,
            version=version,
            assets=_assets(),
            troubles=list(dict.fromkeys(troubles)),
            **{"about": "", "login": self._login} | values,
        )
        return Page(html, status)
