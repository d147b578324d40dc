"""The example of sources: its files are well formed, and the names in them exist and agree."""

import tomllib
from typing import Any

import pytest
from packaging.requirements import Requirement

from livesegments.ingest.definitions import load
from livesegments.ingest.query import Query
from tests.deploy.documents import ROOT, check_settings, parse_command, read_yaml
from tests.deploy.test_compose import SERVICES, misfits
from tests.deploy.test_dockerfile import names
from tests.deploy.test_kubernetes import MANIFESTS
from tests.deploy.test_kubernetes import misfits as kubernetes_misfits

FOLDER = ROOT / "deploy" / "ingest"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
INGEST: dict[str, Any] = read_yaml(FOLDER / "compose.yaml")[0]["services"]["ingest"]
MANIFEST, SERVICE = read_yaml(FOLDER / "kubernetes.yaml")
CONTAINER = MANIFEST["spec"]["template"]["spec"]["containers"][0]


def test_the_source_and_its_query_can_be_used() -> None:
    sources = load(FOLDER / "SOURCES.toml")
    for each in sources.source:
        Query(each.query, each.into, tables=sources.table).close()


def test_the_compose_file_keeps_the_schema_and_its_names_exist() -> None:
    assert misfits({"services": {**SERVICES, "ingest": INGEST}}) == []
    assert set(INGEST["depends_on"]) <= set(SERVICES)
    environment = {
        name: value.replace("${LIVESEGMENTS_CURRENCY:-USD}", "USD")
        for name, value in INGEST["environment"].items()
    }
    check_settings(environment)
    for volume in INGEST["volumes"]:
        assert (ROOT / volume.split(":")[0]).is_dir()


@pytest.mark.parametrize("command", [INGEST["command"], CONTAINER["args"]])
def test_commands_are_those_of_the_command_line(command: list[str]) -> None:
    assert parse_command(command) == "ingest"


def test_the_manifest_keeps_the_schema_of_kubernetes_and_its_names_exist() -> None:
    assert kubernetes_misfits(MANIFEST) == kubernetes_misfits(SERVICE) == []
    worker = MANIFESTS["StatefulSet", "livesegments-worker"]["spec"]["template"]["spec"]
    assert CONTAINER["envFrom"] == worker["containers"][0]["envFrom"]
    spec = MANIFEST["spec"]["template"]["spec"]
    [secret] = [each["secret"]["secretName"] for each in spec["volumes"] if "secret" in each]
    user = {each["name"]: each.get("value") for each in CONTAINER["env"]}[
        "LIVESEGMENTS_KAFKA_SASL_USERNAME"
    ]
    assert secret == f"livesegments-{user}"
    assert MANIFESTS["Secret", secret]["stringData"].keys() == {"kafka-password", "kafka-ca.pem"}


def test_the_image_has_what_ingest_needs_in_the_versions_that_were_tested() -> None:
    everything = names((ROOT / "requirements.lock").read_text())
    locked = names((ROOT / "requirements-ingest.lock").read_text())
    extra = {Requirement(each).name for each in PROJECT["optional-dependencies"]["ingest"]}
    assert extra <= set(locked)
    assert locked.items() <= everything.items()
    assert "requirements-ingest.lock" in (FOLDER / "Dockerfile").read_text()
    assert "!requirements-ingest.lock" in (FOLDER / "Dockerfile.dockerignore").read_text()
