"""Each role works with the rights of docs/security.md and no others; a missing right is named."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from kafka.admin import ACLOperation, KafkaAdminClient, ResourceType
from kafka.errors import TopicAuthorizationFailedError

from livesegments.config.clients import kafka_config
from livesegments.config.settings import load
from livesegments.contracts.topics import CHANGES, DEAD_LETTERS, INPUTS, OUTPUTS, REPLAYS
from livesegments.operations.topics import check_allowed
from tests import processes
from tests.livesegments.ingest import topics
from tests.security.secured import Secured, documented_acls, lower, password_of
from tests.service import Service, purchase

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

COMMAND = [sys.executable, "-m", "livesegments.cli"]


def command(settings: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {f"LIVESEGMENTS_{name}": value for name, value in settings.items()}
    done = processes.run(
        [*COMMAND, *arguments],
        env={**os.environ, **environment},
        timeout=120,
    )
    for role in ("worker", "auditor"):
        assert password_of(role) not in done.stdout + done.stderr
    return done


def write_purchases(folder: Path) -> Path:
    file = folder / "purchases.csv"
    rows = [f"c{i % 80},2024-01-{1 + i % 28:02d}T10:00:00Z,{5.0 + i}" for i in range(200)]
    file.write_text("\n".join(["customer_id,occurred_at,amount", *rows]) + "\n")
    return file


def test_every_role_does_its_work_with_the_documented_rights(
    secured: Secured, service: Service, tmp_path: Path
) -> None:
    with KafkaAdminClient(bootstrap_servers=secured.kafka.bootstrap) as admin:
        admin.delete_topics([*INPUTS, *OUTPUTS, REPLAYS])
    auditor = {**secured.sasl("auditor"), **secured.store("auditor")}

    created = command(secured.sasl("operator"), "topics", "create", "--partitions", "4")
    assert created.returncode == 0, created.stderr
    assert created.stdout.count("created") == len([*INPUTS, *OUTPUTS, REPLAYS])

    file = write_purchases(tmp_path)
    sent = command(secured.sasl("producer", "PLAIN"), "replay", str(file))
    assert "sent 200 purchases" in sent.stdout, sent.stderr

    service.start()
    service.start(
        **secured.mutual_tls(),
        KAFKA_SASL_MECHANISM="",
        KAFKA_SASL_USERNAME="",
        KAFKA_SASL_PASSWORD="",
    )
    service.wait_for(service.has_model, "everyone is scored")
    service.send([("purchases.v1", b"c1", b"not json")])
    service.wait()
    service.leave(service.workers[0])

    shown = command(
        secured.sasl("subscriber", "SCRAM-SHA-256"), "subscribe", "--json", "--limit", "5"
    )
    assert len(shown.stdout.splitlines()) == 5, shown.stderr
    told = command(secured.sasl("subscriber", "SCRAM-SHA-256"), "subscribe", "--limit", "5")
    assert len(told.stdout.splitlines()) == 5, told.stderr
    assert "segment-definitions.v1 may not be read" in told.stderr
    verified = command(auditor, "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    exported = command(auditor, "export", str(tmp_path / "segments.csv"))
    assert "wrote 80 customers" in exported.stdout, exported.stderr
    lists = str(tmp_path / "lists")
    reported = command(auditor, "report", str(tmp_path / "report.html"), "--lists", lists)
    assert "wrote retention.csv" in reported.stdout, reported.stderr
    examined = command(auditor, "doctor")
    assert examined.returncode == 0, examined.stdout
    assert "80 customers" in examined.stdout
    asked = command(auditor, "customer", "c1")
    assert "Customer c1" in asked.stdout, asked.stderr
    watched = command(auditor, "watch", "--json", "--limit", "1")
    seen = json.loads(watched.stdout)
    assert (seen["troubles"], seen["records"], seen["lag"]) == ([], 80, 0), watched.stderr
    serve = service.launch(
        [sys.executable, "-m", "livesegments.cli", "serve"],
        **auditor,
        SERVE_PORT="0",
        SERVE_DATA=str(tmp_path / "history.duckdb"),
    )
    service.wait_for(lambda: service.missing() == [], "serve is ready")
    service.leave(serve)
    worker = service_settings(service)
    refitted = command(worker, "refit", "--dry-run")
    assert refitted.returncode == 0, refitted.stderr
    rebuilt = command(worker, "rebuild", "--yes")
    assert rebuilt.returncode == 0, rebuilt.stderr
    listed = command(auditor, "dead-letters", "list")
    assert "not_json" in listed.stdout, listed.stderr
    operator = secured.sasl("operator")
    again = command(operator, "dead-letters", "replay", "--refused-too")
    assert "sent 1 (1 not_json)" in again.stdout, again.stderr
    denied = command(auditor, "dead-letters", "replay")
    assert denied.returncode == 1
    assert f"{REPLAYS} (WRITE)" in denied.stderr


def test_a_worker_needs_each_of_its_rights_on_topics(secured: Secured, service: Service) -> None:
    settings = load(**lower(secured.sasl("worker")))
    rights = [
        acl
        for acl in documented_acls()
        if acl.principal == "User:worker"
        and acl.resource_pattern.resource_type == ResourceType.TOPIC
    ]
    assert len(rights) == len(INPUTS) + 2 * len(OUTPUTS)
    for gone in rights:
        secured.allow(acl for acl in rights if acl is not gone)
        topic = gone.resource_pattern.resource_name
        with pytest.raises(TopicAuthorizationFailedError, match=re.escape(topic)) as caught:
            check_allowed(kafka_config(settings), read=[*INPUTS, *OUTPUTS], write=OUTPUTS)
        if topic in OUTPUTS:
            assert gone.operation.name in str(caught.value)


LACKING = {
    "a topic": (ResourceType.TOPIC, rf"topic {DEAD_LETTERS} \(WRITE\)"),
    "the group": (ResourceType.GROUP, r"group livesegments \(LIVESEGMENTS_GROUP_ID\)"),
    "the transactional id": (ResourceType.TRANSACTIONAL_ID, "transactional ids.*livesegments-"),
}


@pytest.mark.parametrize("what", LACKING)
def test_a_worker_that_lacks_a_right_ends_with_a_line_that_names_it(
    secured: Secured, service: Service, what: str
) -> None:
    kind, said = LACKING[what]
    secured.allow(
        acl
        for acl in documented_acls()
        if acl.resource_pattern.resource_type != kind
        or (kind == ResourceType.TOPIC and acl.resource_pattern.resource_name != DEAD_LETTERS)
        or (kind == ResourceType.TOPIC and acl.operation == ACLOperation.READ)
    )
    done = command({**service_settings(service)}, "run")
    assert done.returncode == 1
    assert re.search(f"user 'worker' .LIVESEGMENTS_KAFKA_SASL_USERNAME. {said}", done.stderr)
    assert "Traceback" not in done.stderr


def service_settings(service: Service) -> dict[str, str]:
    return {
        name.removeprefix("LIVESEGMENTS_"): value for name, value in service.environment.items()
    }


@pytest.mark.parametrize(
    ("role", "arguments", "said"),
    [
        ("producer", ["replay", "FILE"], "topic purchases.v1"),
        ("subscriber", ["subscribe", "--idle-exit", "1"], f"topic customer-segments.v1, {CHANGES}"),
        ("operator", ["topics", "create"], "topic customer-erasures.v1"),
        ("auditor", ["verify"], "topic "),
    ],
)
def test_other_commands_name_what_is_not_allowed_too(
    secured: Secured, service: Service, tmp_path: Path, role: str, arguments: list[str], said: str
) -> None:
    file = str(write_purchases(tmp_path))
    secured.allow(acl for acl in documented_acls() if acl.principal != f"User:{role}")
    settings = {**service_settings(service), **secured.sasl(role)}
    if role == "auditor":
        service.start()  # an empty store has nothing to verify
        service.wait_for(lambda: "owns partitions" in service.tail(), "the worker has joined")
        settings |= secured.store(role)
    done = command(settings, *(file if each == "FILE" else each for each in arguments))
    assert done.returncode == 1
    assert f"user '{role}' (LIVESEGMENTS_KAFKA_SASL_USERNAME) {said}" in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2


@pytest.mark.parametrize("records", [1, 2], ids=["one", "a batch"])
def test_a_right_that_is_taken_away_ends_the_worker_that_needs_it(
    secured: Secured, service: Service, records: int
) -> None:
    worker = service.start()
    service.send([purchase(f"c{i}", "2024-01-02T10:00:00Z", 5.0 + i) for i in range(80)])
    service.wait_for(service.has_model, "everyone is scored")
    service.wait()
    secured.allow(
        acl for acl in documented_acls() if acl.resource_pattern.resource_name != DEAD_LETTERS
    )
    service.send([("purchases.v1", b"c1", b"not json")] * records)
    assert worker.wait(60) == 1
    assert f"topic {DEAD_LETTERS}" in service.tail(1)


def test_ingest_works_with_the_documented_rights(
    secured: Secured, service: Service, tmp_path: Path
) -> None:
    topics.create(service)
    topics.send(service, [topics.order(number) for number in range(40)])
    sources = topics.write_sources(tmp_path)
    tried = command(secured.sasl("ingest"), "ingest", str(sources), "--dry-run", "--sample", "3")
    assert tried.returncode == 0, tried.stderr
    ingest = service.launch([*COMMAND, "ingest", str(sources)], **secured.sasl("ingest"))
    topics.wait(service)
    assert len(topics.read(service, "purchases.v1")) == 36
    service.leave(ingest)
