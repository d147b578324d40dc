"""The pages of a running deployment, as `livesegments serve` serves them."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.resources import files
from typing import Any

from livesegments.analysis.pages.contents import PERIODS, Content, Contents
from livesegments.analysis.pages.lists import Lists, list_names
from livesegments.analysis.pages.model import preview
from livesegments.analysis.pages.surveys import Surveyed
from livesegments.analysis.survey.context import DeploymentReader
from livesegments.analysis.transitions import NONE
from livesegments.config.error_messages import explain
from livesegments.config.settings import Settings
from livesegments.history.database import History
from livesegments.rendering.templates import compile_pages, render

PAGES = {
    "/": "Segments",
    "/customers": "Customers",
    "/audiences": "Audiences",
    "/model": "Model",
    "/data": "Data",
}
ASSETS = {"live.js": "text/javascript", "page.css": "text/css"}
_PACKAGES = {"live.js": "livesegments.analysis.pages", "page.css": "livesegments.rendering"}

STOP_SECONDS = 5.0
TICK_SECONDS = 10
"""A page without changes is brought up to date this often."""
PREVIEW_SECONDS = 30.0

Query = Mapping[str, str]


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
    they are. With ``login`` the pages need a session. ``list_names`` are those of `list_rows`.
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
        segments = settings.read_segmentation().segments
        self._names = {each.id: each.name for each in segments} | {NONE: "No segment"}
        self.list_names = list_names(each.id for each in segments)
        self._contents = Contents(settings, history, reader, self._explain)
        self._surveys = self._contents.surveys
        self._groups = self._contents.group, self._contents.sources
        self._stopping = threading.Event()
        self._surveying = threading.Thread(
            target=self._surveys.run, args=(self._stopping,), name="surveys", daemon=True
        )
        self._rendered: dict[tuple[str, str], tuple[str, Page]] = {}
        self._preview: tuple[float, dict[str, Any]] | None = None
        self._previewing = threading.Lock()

    def start(self) -> None:
        """Begin to survey the customers and to watch the groups."""
        compile_pages()
        self._surveying.start()
        for each in self._groups:
            each.start()

    def stop(self) -> None:
        """Stop, and a survey under way."""
        self._stopping.set()
        self._surveys.stop()
        if self._surveying.ident is not None:
            self._surveying.join(STOP_SECONDS)
        for each in self._groups:
            each.stop()
        self._contents.close()

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
            content, status = self._contents.of_customer(query.get("id", ""))
            return self._served(PAGES[path], version, content, status)
        if (cached := self._rendered.get(key)) and cached[0] == version:
            return cached[1]
        page = self._served(PAGES[path], version, self._contents.of(path, key[1]))
        self._rendered[key] = version, page
        return page

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
                found = preview(self._settings, self._names, self._explain)
                self._preview = time.monotonic(), found
            values = self._preview[1]
        return self._served("Model", version, ("preview", {"names": self._names} | values))

    def _served(self, title: str, version: str, content: Content, status: int = 200) -> Page:
        template, values = content
        away = self._trouble()
        groups = (each.trouble for each in self._groups)
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
