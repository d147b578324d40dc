"""The example of `livesegments serve`: well formed, and the names in its files exist and agree."""

import tomllib
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from tests.deploy.documents import ROOT, check_settings, parse_command, read_yaml
from tests.deploy.test_compose import SERVICES
from tests.deploy.test_compose import misfits as compose_misfits
from tests.deploy.test_dockerfile import names
from tests.deploy.test_kubernetes import MANIFESTS, WORKER, environment, misfits

FOLDER = ROOT / "deploy" / "serve"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
COMPOSE: dict[str, Any] = read_yaml(FOLDER / "compose.yaml")[0]
SERVE = COMPOSE["services"]["serve"]
SERVICE, MANIFEST, METRICS = read_yaml(FOLDER / "kubernetes.yaml")
SPEC = MANIFEST["spec"]["template"]["spec"]
[CONTAINER] = SPEC["containers"]
TOKEN = "0123456789abcdef"


def test_the_compose_file_keeps_the_schema_and_its_names_exist() -> None:
    services = {**SERVICES, "serve": SERVE}
    assert compose_misfits({"services": services, "volumes": COMPOSE["volumes"]}) == []
    assert set(SERVE["depends_on"]) <= set(SERVICES)
    assert [volume.split(":")[0] for volume in SERVE["volumes"]] == list(COMPOSE["volumes"])
    given = {
        name: value.replace(":-wall", "").replace(":-USD", "").partition("${")[0]
        for name, value in SERVE["environment"].items()
    }
    settings = check_settings({k: v for k, v in given.items() if v})
    assert settings.serve_is_exposed
    assert SERVE["environment"]["LIVESEGMENTS_SERVE_TOKEN"].startswith(
        "${LIVESEGMENTS_SERVE_TOKEN:?"
    )
    assert SERVE["ports"] == [f"127.0.0.1:{settings.serve_port}:{settings.serve_port}"]


def test_the_manifests_keep_the_schema_of_kubernetes() -> None:
    assert misfits(SERVICE) == misfits(MANIFEST) == misfits(METRICS) == []
    labels = MANIFEST["spec"]["template"]["metadata"]["labels"]
    assert SERVICE["spec"]["selector"] == MANIFEST["spec"]["selector"]["matchLabels"] == labels
    assert MANIFEST["spec"]["serviceName"] == SERVICE["metadata"]["name"]
    ports = {each["name"]: each["containerPort"] for each in CONTAINER["ports"]}
    [served], [scraped] = SERVICE["spec"]["ports"], METRICS["spec"]["ports"]
    assert (ports[served["targetPort"]], ports[scraped["targetPort"]]) == (8080, 9108)
    assert METRICS["spec"]["selector"] == labels


def test_its_settings_fit_together_and_its_secrets_have_their_files(tmp_path: Path) -> None:
    [worker] = WORKER["spec"]["template"]["spec"]["containers"]
    assert CONTAINER["envFrom"] == worker["envFrom"]
    mounts = {each["mountPath"]: each["name"] for each in CONTAINER["volumeMounts"]}
    secrets = {each["name"]: each["secret"]["secretName"] for each in SPEC["volumes"]}
    given = environment(CONTAINER)
    for name, path in given.items():
        if not name.endswith("FILE"):
            continue
        folder, _, key = path.rpartition("/")
        if secrets[mounts[folder]] == "livesegments-serve":
            assert f"--from-literal={key}=" in (FOLDER / "kubernetes.yaml").read_text()
            value = TOKEN
        else:
            value = MANIFESTS["Secret", secrets[mounts[folder]]]["stringData"][key] or "hush"
        (tmp_path / key).write_text(value)
        given[name] = "" if key.endswith(".pem") else str(tmp_path / key)
    settings = check_settings(given)
    assert settings.serve_token.get_secret_value() == TOKEN
    assert settings.serve_is_exposed
    [claim] = MANIFEST["spec"]["volumeClaimTemplates"]
    assert mounts[str(settings.serve_data.parent)] == claim["metadata"]["name"]


def test_commands_are_those_of_the_command_line() -> None:
    assert parse_command(SERVE["command"]) == parse_command(CONTAINER["args"]) == "serve"


def test_the_image_has_what_it_needs_in_the_versions_that_were_tested() -> None:
    everything = names((ROOT / "requirements.lock").read_text())
    locked = names((ROOT / "requirements-serve.lock").read_text())
    extra = {Requirement(each).name for each in PROJECT["optional-dependencies"]["serve"]}
    assert extra <= set(locked)
    assert locked.items() <= everything.items()
    assert "requirements-serve.lock" in (FOLDER / "Dockerfile").read_text()
    assert "!requirements-serve.lock" in (FOLDER / "Dockerfile.dockerignore").read_text()
