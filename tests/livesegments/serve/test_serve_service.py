"""The API of a running deployment, over HTTP."""

import http.client
import json
import re
import sys
import threading
from collections.abc import Iterator

import jsonschema
import pytest
from kafka import TopicPartition

from livesegments.contracts.segments import SegmentChange
from livesegments.contracts.topics import CHANGES
from livesegments.serve.openapi import document
from livesegments.topic_prefix import open_admin
from tests.livesegments.serve.api_client import BEARER, TOKEN, Answer, Client
from tests.livesegments.serve.people import PEOPLE, profiles
from tests.servers import KafkaServer, RedisServer
from tests.service import PARTITIONS, Event, Service, empty_servers, erasure, purchase

pytestmark = pytest.mark.servers

NAMES = ["42", "a/b", "a%2Fb", "..", ".", "/", "Zoë", "客户 🛒", "a'b\"c?d=e&f#g", "x" * 128, "+ +"]
FORGOTTEN = ["gone", "barred"]
MOVED = ["p00", "p03", "p06", "p12"]
"""Customers with different habits: the same large purchases move most of them."""


def shopping(customers: list[str]) -> list[Event]:
    return [
        purchase(name, f"2024-01-{day:02d}T10:00:00Z", 5.0 + 9 * (i % 8), event_id=f"{i}-{day}")
        for i, name in enumerate(customers)
        for day in range(2, 24, 1 + i % 5)
    ]


def large_purchases(customers: list[str]) -> list[Event]:
    return [
        purchase(name, f"2024-01-28T10:{minute:02d}:00Z", 5_000.0, event_id=f"{name}-{minute}")
        for name in customers
        for minute in range(40)
    ]


@pytest.fixture(scope="module")
def service(
    kafka: KafkaServer, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    empty_servers(kafka, redis_server)
    made = Service(kafka, redis_server, tmp_path_factory.mktemp("served"), {"REFIT": "off"})
    made.start()
    made.send(profiles(PEOPLE))
    made.send(shopping([*PEOPLE, *NAMES, *FORGOTTEN]))
    made.wait_for(made.has_model, "everyone is scored")
    made.send([erasure("gone", "2024-01-28T00:00:00Z")])
    made.send([erasure("barred", "2024-01-28T00:00:00Z", "suppress")])
    made.wait()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def client(service: Service) -> Client:
    return start(service)


def start(service: Service, **settings: str) -> Client:
    """Start a server; return a client of it once it is ready."""
    data = service.folder / f"history-{len(service.logs)}.duckdb"
    service.launch(
        [sys.executable, "-m", "livesegments.cli", "serve"],
        SERVE_PORT="0",
        SERVE_TOKEN=TOKEN,
        SERVE_DATA=str(data),
        **settings,
    )
    service.wait_for(lambda: service.missing() == [], "serve is ready")
    found = re.search(r'"address": "http://127.0.0.1:(\d+)/"', service.logs[-1].read_text())
    assert found
    return Client(int(found[1]))


def matches(value: object, model: str) -> None:
    """Check a value against the OpenAPI document."""
    schemas = {"components": document()["components"]}
    jsonschema.validate(value, {"$ref": f"#/components/schemas/{model}", **schemas})


@pytest.mark.parametrize("name", [*NAMES, "p00"])
def test_a_customer_of_any_id_is_found(client: Client, name: str) -> None:
    found = client.customer(name)
    assert found.status == 200
    assert found.json["customer_id"] == name
    assert found.json["segment"]["name"]
    matches(found.json, "Customer")


def test_unknown_erased_and_suppressed_look_alike(client: Client) -> None:
    found = [client.customer(name) for name in ("nobody", *FORGOTTEN, "x" * 129)]
    assert {each.status for each in found} == {404}
    assert len({each.body for each in found}) == 1
    assert (
        len(
            {
                tuple(sorted(set(each.headers.items()) - {("date", each.headers["date"])}))
                for each in found
            }
        )
        == 1
    )
    matches(found[0].json, "ProblemDetails")


def test_an_answer_that_a_client_has_is_not_sent_again(client: Client) -> None:
    def again() -> Answer:
        tag = client.customer("p01").headers["etag"]
        return client.customer("p01", **{"If-None-Match": f'"other", W/{tag}'})

    # A new model may come in between.
    found = next((each for each in (again() for _ in range(5)) if each.status != 200), again())
    assert (found.status, found.body) == (304, b"")
    assert client.customer("p01", **{"If-None-Match": '"other"'}).status == 200


def test_a_batch_has_those_that_are_known_in_order(client: Client) -> None:
    ids = ["p05", "nobody", "客户 🛒", "gone", "p01", "p05"]
    body = json.dumps({"customer_ids": ids}).encode()
    found = client.request("/customers:batch", method="POST", body=body)
    assert found.status == 200
    assert [each["customer_id"] for each in found.json["customers"]] == ["p05", "客户 🛒", "p01"]
    assert found.json["not_found"] == ["nobody", "gone"]
    assert found.json["customers"][0] == client.customer("p05").json
    matches(found.json, "Customers")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b'{"customer_ids": []}', 400),
        (b'{"customer_ids": ["a"], "more": 1}', 400),
        (json.dumps({"customer_ids": ["x"] * 1_001}).encode(), 400),
        (json.dumps({"customer_ids": ["x" * 129]}).encode(), 400),
        (b'{"customer_ids": ["\\ud800"]}', 400),
        (b" " * 1_100_000, 413),
    ],
)
def test_a_wrong_batch_is_refused(client: Client, body: bytes, status: int) -> None:
    found = client.request("/customers:batch", method="POST", body=body)
    assert found.status == status
    matches(found.json, "ProblemDetails")


def test_segments_have_their_customers(client: Client) -> None:
    found = client.request("/segments")
    matches(found.json, "Segments")
    segments = found.json["segments"]
    assert sum(each["customers"] for each in segments) == len(PEOPLE) + len(NAMES)
    assert sum(each["consent"]["granted"] for each in segments) == len(PEOPLE[::3])


def test_all_customers_of_a_segment_come_page_by_page(client: Client) -> None:
    found: dict[str, str] = {}
    for segment in client.request("/segments").json["segments"]:
        path: str | None = f"/segments/{segment['id']}/customers?limit=7"
        while path:
            page = client.request(path)
            rows = [json.loads(line) for line in page.body.splitlines()]
            for row in rows:
                matches(row, "SegmentCustomer")
                assert row["customer_id"] not in found
                found[row["customer_id"]] = segment["id"]
            link = page.headers.get("link")
            path = link and link.split(">")[0].removeprefix("</api/v1")
            assert len(rows) == 7 or not path
    assert sorted(found) == sorted([*PEOPLE, *NAMES])
    for name in (*NAMES, "p03"):
        assert client.customer(name).json["segment"]["id"] == found[name]


def test_of_a_segment_only_those_who_consented(client: Client) -> None:
    names: list[str] = []
    for segment in client.request("/segments").json["segments"]:
        page = client.request(f"/segments/{segment['id']}/customers?consent=granted")
        names += [json.loads(line)["customer_id"] for line in page.body.splitlines()]
    assert sorted(names) == PEOPLE[::3]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/segments/none/customers", 404),
        ("/segments/none", 404),
        ("/nothing", 404),
        ("/customers/%ff", 400),
        ("/changes?last_event_id=x", 400),
        ("/changes?last_event_id=5c-1.1.1.1", 410),
    ],
)
def test_errors_are_problem_details(client: Client, path: str, status: int) -> None:
    found = client.request(path)
    assert found.status == status
    assert found.headers["content-type"] == "application/problem+json"
    matches(found.json, "ProblemDetails")


def test_the_head_of_the_stream_ends(client: Client) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=20)
    for method in ("HEAD", "HEAD"):  # the second waits for the first
        connection.request(method, "/api/v1/changes", headers=BEARER)
        found = connection.getresponse()
        assert (found.status, found.read()) == (200, b"")
        assert found.headers["content-type"].startswith("text/event-stream")
    connection.close()


@pytest.mark.parametrize("query", ["limit=0", "limit=10001", "consent=maybe", "cursor=%25", "x=1"])
def test_a_wrong_parameter_is_named(client: Client, query: str) -> None:
    [segment, *_] = client.request("/segments").json["segments"]
    found = client.request(f"/segments/{segment['id']}/customers?{query}")
    assert found.status == 400
    assert query.partition("=")[0] in found.json["detail"]


def test_without_the_token_nothing_is_told(client: Client) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Cookie": "livesegments_session=1.9"}):
        found = client.request("/customers/p01", headers=headers)
        assert found.status == 401
        assert b"p01" not in found.body
    assert client.request("/customers/p01", method="DELETE").status == 405


def test_a_change_is_streamed_and_read_by_the_contract(client: Client, service: Service) -> None:
    stream = client.stream()
    service.send(large_purchases(MOVED))
    seen: set[str] = set()
    while not seen & set(MOVED):
        [event] = stream.events(1)
        assert event["event"] == "change"
        seen.add(SegmentChange.model_validate_json(event["data"]).customer_id)
    stream.close()


def test_an_erasure_is_streamed_and_reaches_every_answer(client: Client, service: Service) -> None:
    stream = client.stream()
    assert client.customer("p10").status == 200
    segment = client.customer("p10").json["segment"]["id"]
    service.send([erasure("p10", "2024-02-02T00:00:00Z")])
    told: list[dict[str, str]] = []
    while not told or told[-1]["event"] != "forgotten":
        told += stream.events(1)
    assert json.loads(told[-1]["data"]) == {"customer_id": "p10"}
    stream.close()
    assert client.customer("p10").status == 404
    rows = client.request(f"/segments/{segment}/customers?limit=10000").body
    assert b'"p10"' not in rows
    begin = re.sub(r"\d+", "0", told[-1]["id"].split("-")[1])
    again = client.stream(f"{told[-1]['id'].split('-')[0]}-{begin}")
    changes = [each for each in again.events(60) if each["event"] == "change"]
    again.close()
    assert changes
    assert not [each for each in changes if '"p10"' in each["data"]]


def test_five_hundred_streams_and_slow_readers_do_not_hold_it_up(
    client: Client, service: Service
) -> None:
    streams = [client.stream() for _ in range(500)]
    assert {each.status for each in streams} == {200}
    service.send(large_purchases(["p16", "p17", "p18", "p19"]))
    found = [each.events(1)[0]["id"] for each in streams[::50]]
    assert len(set(found)) == 1
    assert client.customer("p01").status == 200
    for each in streams:
        each.close()


def test_a_server_that_is_away_is_named_and_comes_back(service: Service) -> None:
    client = start(service)
    service.redis_server.pause()
    try:
        found = client.customer("p01")
        assert found.status == 503
        assert "Redis" in found.json["detail"]
        assert found.headers["retry-after"]
        assert client.request("/segments").status == 200
        service.wait_for(lambda: service.missing() == ["redis"], "it is not ready")
    finally:
        service.redis_server.resume()
    service.wait_for(lambda: client.customer("p01").status == 200, "Redis is back")


def test_while_kafka_is_away_customers_are_answered_and_the_rest_is_not(
    client: Client, service: Service
) -> None:
    service.kafka.pause()
    try:
        service.wait_for(lambda: client.request("/segments").status == 503, "it is noticed")
        for path in ("/segments", "/segments/retirees/customers", "/changes"):
            found = client.request(path)
            assert (found.status, found.json["detail"]) == (503, "Kafka is away")
        assert client.customer("p01").status == 200
    finally:
        service.kafka.resume()
    service.wait_for(lambda: client.request("/segments").status == 200, "Kafka is back")


def test_after_changes_that_are_deleted_a_client_reads_everything_again(
    client: Client, service: Service
) -> None:
    stream = client.stream()
    service.send(large_purchases(["p20", "p21", "p22", "p23"]))
    topic, _, ends = stream.events(1)[0]["id"].partition("-")
    stream.close()
    admin = open_admin(**service.config)
    offsets = list(map(int, ends.split(".")))
    partition = max(range(PARTITIONS), key=offsets.__getitem__)
    admin.delete_records({TopicPartition(CHANGES, partition): offsets[partition]})
    admin.close()
    first = ".".join("0" for _ in offsets)
    found = client.request("/changes", headers=BEARER | {"Last-Event-ID": f"{topic}-{first}"})
    assert found.status == 410
    assert "read all segments again" in found.json["detail"]


def test_sigterm_ends_it_in_order_with_streams_open(service: Service) -> None:
    client = start(service)
    stream = client.stream()
    server = service.workers[-1]
    done = threading.Thread(target=stream.socket.recv, args=(1_000_000,))
    done.start()
    service.leave(server)
    done.join(10)
    stream.close()


def test_its_metrics_count_requests(service: Service) -> None:
    client = start(service)
    client.customer("p01")
    client.customer("nobody")
    found = re.search(r'"port": (\d+)', service.logs[-1].read_text())
    assert found
    connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=10)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    assert 'livesegments_serve_requests_total{route="customer",status="2xx"} 1.0' in text
    assert 'livesegments_serve_requests_total{route="customer",status="4xx"} 1.0' in text
    assert re.search(r"livesegments_serve_history_bytes [1-9]", text)
    assert "p01" not in text


def test_on_another_host_it_needs_a_token(service: Service) -> None:
    done = service.command("serve", SERVE_HOST="0.0.0.0")
    assert done.returncode == 2
    assert "LIVESEGMENTS_SERVE_TOKEN" in done.stderr


def test_the_description_is_a_document_and_a_page_that_loads_nothing_from_elsewhere(
    client: Client,
) -> None:
    assert client.request("/openapi.json").json == document()
    page = client.request("").body.decode()
    for path in document()["paths"]:
        assert path in page
    assert re.findall(r'(?:src|href)="([^"#]+)"', page) == [
        *("data:,", "/static/page.css", "/api/v1/openapi.json"),
    ]
