"""The pages of a running deployment in a real browser."""

import csv
import re
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from http.client import HTTPConnection
from itertools import pairwise
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from playwright.sync_api import Browser, expect

from livesegments.contracts.topics import PURCHASES
from tests.livesegments.serve.browser import DESK, PHONE, Tab, chromium, tab
from tests.livesegments.serve.people import PEOPLE, profiles
from tests.servers import KafkaServer, RedisServer
from tests.service import Event, Service, empty_servers, erasure, profile, purchase

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

TOKEN = "a-token-of-these-tests"
PAGES = ("/", "/customers?id=p01", "/audiences", "/model", "/model/preview", "/data")
ODD = "Zoë/<b>'\"&?#%2F 客户"


@dataclass(frozen=True)
class Served:
    """A deployment, its server and a browser."""

    service: Service
    address: str
    browser: Browser

    def tab(self, **how: Any) -> AbstractContextManager[Tab]:
        """Open a tab without a session."""
        return tab(self.browser, base_url=self.address, **how)

    def get(self, path: str) -> tuple[int, str]:
        """Return status and body of a page, with the token."""
        connection = HTTPConnection(urlsplit(self.address).netloc, timeout=30)
        connection.request("GET", path, headers={"Authorization": f"Bearer {TOKEN}"})
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        return answer.status, body


def shopping(names: list[str], day: int = 24) -> list[Event]:
    return [
        purchase(
            name,
            f"2024-01-{when:02d}T10:00:00Z",
            5.0 + 9 * (i % 8),
            event_id=f"{name}-{when}",
            category=("tea", "jam", "bread")[(i % 4) // 2],
        )
        for i, name in enumerate(names)
        for when in range(2, day, 1 + i % 5)
    ]


@pytest.fixture(scope="module")
def served(
    kafka: KafkaServer, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    empty_servers(kafka, redis_server)
    folder = tmp_path_factory.mktemp("pages")
    service = Service(
        kafka,
        redis_server,
        folder,
        {
            "REFIT": "off",
            "SERVE_PORT": "0",
            "SERVE_TOKEN": TOKEN,
            "SERVE_DATA": str(folder / "history.duckdb"),
        },
    )
    try:
        service.start()
        service.send(profiles(PEOPLE))
        service.send(shopping([*PEOPLE, "gone", "barred", ODD]))
        service.wait_for(service.has_model, "everyone is scored")
        service.send(
            [
                erasure("gone", "2024-01-28T00:00:00Z"),
                erasure("barred", "2024-01-28T00:00:00Z", "suppress"),
                (PURCHASES, b"p01", b"not json"),
            ]
        )
        service.wait()
        log = len(service.logs)
        service.launch([sys.executable, "-m", "tests.livesegments.serve.prompt_serve"])
        found: list[str] = []

        def answers() -> bool:
            found[:] = re.findall(r'"address": "(http://[^"]+)/"', service.logs[log].read_text())
            return bool(found)

        service.wait_for(answers, "the server answers")
        with chromium() as browser:
            made = Served(service, found[0], browser)
            service.wait_for(
                lambda: "Customers to target" in made.get("/audiences")[1], "a survey was made"
            )
            yield made
    finally:
        service.stop()


def log_in(opened: Tab, path: str = "/") -> None:
    opened.page.goto(path)
    opened.page.get_by_label("Token").fill(TOKEN)
    opened.page.get_by_role("button", name="Log in").click()


def test_a_page_asks_for_the_token_and_is_shown_to_whoever_has_it(served: Served) -> None:
    with served.tab() as opened:
        page = opened.page
        page.goto("/audiences")
        assert opened.violations() == []
        page.get_by_label("Token").fill("a guess")
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("alert")).to_have_text("This is not the token.")
        log_in(opened, "/login?next=" + quote("//elsewhere.example/"))
        expect(page).to_have_url(f"{served.address}/")
        page.get_by_role("link", name="Audiences").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Audiences")
        [cookie] = page.context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        assert TOKEN not in cookie["value"]
        page.set_viewport_size(PHONE)
        page.goto("/api/v1")
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
        page.go_back()
        page.get_by_role("button", name="Log out").click()
        page.goto("/audiences")
        expect(page.get_by_label("Token")).to_be_visible()


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_accessible_loads_nothing_from_elsewhere_and_fits_a_phone(
    served: Served, path: str
) -> None:
    with served.tab() as opened:
        log_in(opened, path)
        page = opened.page
        for dark, size in ((False, DESK), (True, PHONE)):
            page.emulate_media(color_scheme="dark" if dark else "light")
            page.set_viewport_size(size)
            page.reload()
            expect(page.locator("#live")).to_have_attribute("data-state", "on")
            assert opened.violations() == []
            assert opened.complaints == []
            assert {urlsplit(each).netloc for each in opened.addresses} <= {
                urlsplit(served.address).netloc,
                "",
            }
            assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
            back = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (sum(map(int, re.findall(r"\d+", back)[:3])) < 384) is dark
            levels = [
                int(each[1])
                for each in page.evaluate(
                    "[...document.querySelectorAll('h1, h2, h3')].map((each) => each.tagName)"
                )
            ]
            assert levels.count(1) == 1
            assert all(later - level <= 1 for level, later in pairwise(levels))


def test_a_change_is_on_the_page_when_it_is_made_and_nothing_moves_under_the_reader(
    served: Served,
) -> None:
    with served.tab() as opened:
        log_in(opened)
        page = opened.page
        expect(page.locator("#live")).to_have_attribute("data-state", "on")
        summary = page.locator("#over-time summary")
        summary.focus()
        page.keyboard.press("Enter")
        before = page.locator("#facts dd").first.inner_text()
        served.service.send(shopping(["newcomer"]))
        expect(page.locator("#latest")).to_contain_text("newcomer")
        expect(page.locator("#facts dd").first).to_have_text(str(int(before) + 1))
        expect(page.locator("#over-time details")).to_have_attribute("open", "")
        expect(summary).to_be_focused()
        page.get_by_role("button", name="Pause").click()
        served.service.send(shopping(["latecomer"]))
        served.service.wait_for(lambda: "latecomer" in served.get("/")[1], "it is on the page")
        page.wait_for_timeout(1_500)
        expect(page.locator("#latest")).not_to_contain_text("latecomer")
        page.get_by_role("button", name="Resume").click()
        expect(page.locator("#latest")).to_contain_text("latecomer")
        page.get_by_role("link", name="Week").click()
        expect(page.get_by_role("link", name="Week")).to_have_attribute("aria-current", "true")
        assert opened.complaints == []


def test_a_customer_is_found_by_their_id_and_whoever_is_not_known_looks_like_one_erased(
    served: Served,
) -> None:
    with served.tab() as opened:
        log_in(opened, "/customers")
        page = opened.page
        for name in ("p01", ODD):
            page.get_by_label("Customer id").fill(name)
            page.get_by_role("button", name="Search").click()
            expect(page.get_by_role("heading", level=2).first).to_have_text(name)
            expect(page.get_by_role("heading", name="Why")).to_be_visible()
            expect(page.get_by_role("table", name="Changes of the customer")).to_contain_text(
                "no segment"
            )
        assert opened.complaints == []
    answers = set()
    for name in ("gone", "barred", "nobody", "x" * 129):
        status, text = served.get(f"/customers?id={name}")
        assert status == 404
        answers.add(re.sub(r'data-version="[^"]+"', "", text.replace(name, "?")))
    assert len(answers) == 1


def test_a_list_holds_whoever_consents_and_is_refused_to_others(served: Served) -> None:
    with served.tab() as opened:
        log_in(opened, "/audiences")
        with opened.page.expect_download() as download:
            opened.page.get_by_role("link", name="Retirees").click()
        path = download.value.path()
        rows = list(csv.DictReader(path.read_text("utf-8").splitlines()))
    everyone: list[str] = []
    targets = re.findall(r'href="(/audiences/target-[^"]+\.csv)"', served.get("/audiences")[1])
    for target in targets:
        status, text = served.get(target)
        assert status == 200
        everyone += [row["customer_id"] for row in csv.DictReader(text.splitlines())]
    assert sorted(everyone) == PEOPLE[::3]
    assert {row["customer_id"] for row in rows} <= set(everyone)
    assert all(row["segment"] == "retirees" for row in rows)
    assert served.get("/audiences/target-nobody.csv")[0] == 404
    assert all("the last 90 days, in USD" in served.get(path)[1] for path in ("/", "/audiences"))
    withdrawn = profile("p00", "2024-01-29T00:00:00Z", consent={"marketing": False})
    served.service.send([withdrawn])
    served.service.wait_for(
        lambda: not any("p00" in served.get(each)[1] for each in targets), "p00 is on no list"
    )


def test_what_is_away_is_named_and_the_page_comes_back(served: Served) -> None:
    served.service.redis_server.pause()
    try:
        served.service.wait_for(lambda: served.get("/customers?id=p01")[0] == 503, "Redis is away")
        _, text = served.get("/customers?id=p01")
        assert "Redis" in text
        assert served.get("/")[0] == 200
    finally:
        served.service.redis_server.resume()
    served.service.kafka.pause()
    try:
        served.service.wait_for(lambda: "Kafka" in _alert(served), "Kafka is away")
        assert served.get("/customers?id=p01")[0] == 200
    finally:
        served.service.kafka.resume()
    served.service.wait_for(lambda: not _alert(served), "Kafka is back")


def _alert(served: Served) -> str:
    """Return what the page of the segments warns of."""
    status, text = served.get("/")
    assert status == 200
    return "".join(re.findall(r'role="alert">([^<]*)<', text))
