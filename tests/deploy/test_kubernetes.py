"""The Kubernetes example is well formed, and the names in it exist and agree."""

import copy
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from prometheus_client import CollectorRegistry

from livesegments import __version__
from livesegments.config.settings import PREFIX, Settings
from livesegments.monitoring.health_server import HealthServer
from livesegments.monitoring.metrics import Metrics
from tests.deploy.documents import (
    KUBERNETES,
    check_settings,
    dockerfile,
    faults,
    parse_command,
    read_yaml,
)
from tests.livesegments.monitoring.test_health_server import ask
from tests.segmentations import PERSONAS

FILES = sorted(KUBERNETES.glob("*.yaml"))
SETTINGS = KUBERNETES / "settings.env"
SETTINGS_MAP = "livesegments-settings"
OTHERS = {"ingest": "livesegments-ingest", "serve": "livesegments-serve"}
"""Folder -> image of the manifests beside."""
MANIFESTS: dict[tuple[str, str], Any] = {
    (each["kind"], each["metadata"]["name"]): each
    for file in FILES
    if file.name != "kustomization.yaml"
    for each in read_yaml(file)
}
WORKER = MANIFESTS["StatefulSet", "livesegments-worker"]
TOPICS = MANIFESTS["Job", "livesegments-topics"]

API: dict[str, Any] = json.loads(
    (Path(__file__).parent / "kubernetes-1.37.schema.json").read_text()
)
KINDS = {
    (each["group"], each["version"], each["kind"]): name
    for name, schema in API["$defs"].items()
    for each in schema.get("x-kubernetes-group-version-kind", ())
}
"""(Group, version, kind) -> its definition in the API's schema."""


def misfits(manifest: Any) -> list[str]:
    """Return a manifest's violations of the API's schema."""
    group, _, version = manifest["apiVersion"].rpartition("/")
    kind = KINDS[group, version, manifest["kind"]]
    return faults(manifest, {**API, "$ref": f"#/$defs/{kind}"})


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(API)


@pytest.mark.parametrize("which", [each for each in MANIFESTS if each[0] != "PodMonitor"], ids=str)
def test_manifests_keep_the_schema_of_the_kubernetes_api(which: tuple[str, str]) -> None:
    assert misfits(MANIFESTS[which]) == []


def test_a_misspelt_field_and_a_wrong_type_are_seen() -> None:
    job = copy.deepcopy(TOPICS)
    container(job)["imagePullPolice"] = "Always"
    job["spec"]["backoffLimit"] = "5"
    field, wrong = sorted(misfits(job))
    assert "spec.backoffLimit" in field
    assert "'imagePullPolice' was unexpected" in wrong


def test_kustomization_lists_files_that_are_there_and_no_secret() -> None:
    document = kustomization()
    listed = {KUBERNETES / name for name in document["resources"]}
    assert listed <= set(FILES)
    assert KUBERNETES / "secrets.yaml" not in listed
    images = {each["name"]: each["newTag"] for each in document["images"]}
    assert images == dict.fromkeys((container(WORKER)["image"], *OTHERS.values()), __version__)


@pytest.mark.parametrize("name", ["ingest", "serve"])
def test_what_uses_the_generated_maps_is_applied_with_them(name: str) -> None:
    """The hash in the name of a map reaches only manifests that kustomize reads."""
    assert f"# - ../{name} " in (KUBERNETES / "kustomization.yaml").read_text()
    folder = KUBERNETES.parent / name
    [document] = read_yaml(folder / "kustomization.yaml")
    assert document["resources"] == ["kubernetes.yaml"]
    generated = {SETTINGS_MAP}
    for each in document.get("configMapGenerator", ()):
        assert all((folder / file).is_file() for file in each["files"])
        generated.add(each["name"])
    [workload, *services] = sorted(
        read_yaml(folder / "kubernetes.yaml"), key=lambda m: m["apiVersion"]
    )
    assert workload["spec"]["serviceName"] in [each["metadata"]["name"] for each in services]
    assert container(workload)["image"] == OTHERS[name]
    maps = re.findall(
        r"configMap(?:Ref)?: {name: ([\w-]+)}", (folder / "kubernetes.yaml").read_text()
    )
    assert set(maps) == generated


def kustomization() -> Any:
    [document] = read_yaml(KUBERNETES / "kustomization.yaml")
    return document


def test_a_changed_setting_replaces_the_pods() -> None:
    [settings] = kustomization()["configMapGenerator"]
    assert settings == {"name": SETTINGS_MAP, "envs": [SETTINGS.name]}
    assert "generatorOptions" not in kustomization(), "the hash in the name"
    for workload in (WORKER, TOPICS):
        for each in containers(workload):
            assert each["envFrom"] == [{"configMapRef": {"name": settings["name"]}}]
    assert not any(kind == "ConfigMap" for kind, _ in MANIFESTS)


def container(workload: Any) -> Any:
    [found] = workload["spec"]["template"]["spec"]["containers"]
    return found


def containers(workload: Any) -> list[Any]:
    pod = workload["spec"]["template"]["spec"]
    return [*pod.get("initContainers", ()), *pod["containers"]]


def environment(container: Any) -> dict[str, str]:
    """Return a container's environment."""
    lines = [line for line in SETTINGS.read_text().splitlines() if not line.startswith("#")]
    shared = dict(line.split("=", 1) for line in lines)
    return shared | {each["name"]: each.get("value", "pod-0") for each in container["env"]}


@pytest.mark.parametrize(
    ("workload", "which"), [(WORKER, 0), (WORKER, 1), (TOPICS, 0)], ids=["wait", "worker", "topics"]
)
def test_settings_are_ours_and_fit_together(workload: Any, which: int, tmp_path: Path) -> None:
    spec = workload["spec"]["template"]["spec"]
    runs = containers(workload)[which]
    [volume], [mount] = spec["volumes"], runs["volumeMounts"]
    secret = MANIFESTS["Secret", volume["secret"]["secretName"]]["stringData"]
    given = environment(runs)
    for name, path in given.items():
        if not name.endswith("FILE"):
            continue
        folder, _, key = path.rpartition("/")
        assert folder == mount["mountPath"]
        assert key in secret, f"{name}: the secret has no {key}"
        # A certificate is checked only where one exists.
        (tmp_path / key).write_text(secret[key] or "hush")
        given[name] = "" if key.endswith(".pem") else str(tmp_path / key)
    settings = check_settings(given)
    assert settings.kafka_sasl_password.get_secret_value() == "hush"
    assert settings.kafka_security_protocol == "SASL_SSL"
    parse_command(runs["args"])


def test_workers_wait_for_the_topics_that_the_job_creates() -> None:
    wait, worker = containers(WORKER)
    assert parse_command(wait["args"]) == "topics wait"
    assert parse_command(worker["args"]) == "run"
    assert parse_command(container(TOPICS)["args"]) == "topics create"


def test_prometheus_gives_the_workers_the_job_that_the_alerts_ask_for() -> None:
    [asked] = set(re.findall(r'job="(\w+)"', (KUBERNETES.parent / "alerts.yml").read_text()))
    [document] = read_yaml(KUBERNETES / "prometheus.yml")
    scrape, sources, pages = document["scrape_configs"]
    assert pages["job_name"] == OTHERS["serve"]
    assert sources["job_name"] == OTHERS["ingest"]
    assert sources["dns_sd_configs"][0]["names"][0].startswith(f"{OTHERS['ingest']}.")
    [target] = scrape["dns_sd_configs"]
    service = MANIFESTS["Service", "livesegments-worker"]
    [port] = service["spec"]["ports"]
    assert scrape["job_name"] == asked
    where = f"{service['metadata']['name']}.{kustomization()['namespace']}.svc.cluster.local"
    assert (target["names"], target["port"], target["type"]) == ([where], port["port"], "A")
    assert service["spec"]["clusterIP"] == "None"

    monitor = MANIFESTS["PodMonitor", "livesegments"]["spec"]
    labels = WORKER["spec"]["template"]["metadata"]["labels"]
    assert labels[monitor["jobLabel"]] == asked
    assert monitor["selector"]["matchLabels"] == labels
    [endpoint], [named] = monitor["podMetricsEndpoints"], container(WORKER)["ports"]
    assert endpoint["port"] == named["name"]

    [others] = MANIFESTS["PodMonitor", "livesegments-others"]["spec"]["selector"][
        "matchExpressions"
    ]
    assert others["values"] == list(OTHERS)


def test_the_template_of_secrets_says_what_to_delete_with_public_authorities() -> None:
    text = (KUBERNETES / "secrets.yaml").read_text()
    advice = text[: text.index("apiVersion")]
    certificates = {
        key
        for (kind, _), manifest in MANIFESTS.items()
        if kind == "Secret"
        for key in manifest["stringData"]
        if key.endswith(".pem")
    }
    named = [n for runs in containers(WORKER) for n in environment(runs) if n.endswith("CAFILE")]
    assert all(each in advice for each in (*certificates, *named))


@pytest.mark.servers
def test_promtool_takes_the_scrape_configuration() -> None:
    check = ["promtool", "check", "config", str(KUBERNETES / "prometheus.yml")]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_secret_is_filled_in() -> None:
    for (kind, _), manifest in MANIFESTS.items():
        if kind == "Secret":
            values = manifest["stringData"].values()
            users = ("rediss://worker@", "rediss://auditor@")
            assert all(not value or value.startswith(users) for value in values)


def test_each_worker_is_named_by_its_pod() -> None:
    [name] = [e for e in container(WORKER)["env"] if e["name"] == f"{PREFIX}INSTANCE_ID"]
    assert name["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    assert WORKER["spec"]["serviceName"] in {n for kind, n in MANIFESTS if kind == "Service"}


def test_selectors_find_the_workers() -> None:
    labels = WORKER["spec"]["template"]["metadata"]["labels"]
    assert WORKER["spec"]["selector"]["matchLabels"] == labels
    assert MANIFESTS["Service", "livesegments-worker"]["spec"]["selector"] == labels
    budget = MANIFESTS["PodDisruptionBudget", "livesegments-worker"]["spec"]
    assert budget["selector"]["matchLabels"] == labels


def test_probes_ask_pages_that_are_there_and_a_warm_up_counts_as_ready() -> None:
    [port] = container(WORKER)["ports"]
    assert port["containerPort"] == Settings.model_fields["http_port"].default
    registry = Metrics(CollectorRegistry(), PERSONAS).registry
    checks = {"joined": True, "redis": True, "model": False}
    with HealthServer(0, registry, lambda: (True, ""), lambda: checks, host="127.0.0.1") as server:
        for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
            probe = container(WORKER)[kind]["httpGet"]
            assert probe["port"] == port["name"]
            assert ask(server, probe["path"]).status == 200
        checks["joined"] = False
        assert ask(server, container(WORKER)["readinessProbe"]["httpGet"]["path"]).status == 503
        assert ask(server, container(WORKER)["livenessProbe"]["httpGet"]["path"]).status == 200


@pytest.mark.parametrize("workload", [WORKER, TOPICS], ids=["worker", "topics"])
def test_pods_meet_the_restricted_standard_of_their_namespace(workload: Any) -> None:
    labels = MANIFESTS["Namespace", "livesegments"]["metadata"]["labels"]
    assert labels == {"pod-security.kubernetes.io/enforce": "restricted"}
    pod = workload["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert ("USER", str(pod["securityContext"]["runAsUser"])) in dockerfile()
    for each in containers(workload):
        assert each["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    assert pod["enableServiceLinks"] is False


def test_there_are_never_more_workers_than_partitions() -> None:
    arguments = container(TOPICS)["args"]
    partitions = int(arguments[arguments.index("--partitions") + 1])
    scaler = MANIFESTS["HorizontalPodAutoscaler", "livesegments-worker"]["spec"]
    assert scaler["scaleTargetRef"]["name"] == WORKER["metadata"]["name"]
    assert WORKER["spec"]["replicas"] <= scaler["maxReplicas"] == partitions
    [metric] = [each["external"]["metric"]["name"] for each in scaler["metrics"]]
    registry = Metrics(CollectorRegistry(), PERSONAS).registry
    assert metric in {family.name for family in registry.collect()}


def test_memory_and_processors_are_asked_for() -> None:
    for each in (*containers(WORKER), *containers(TOPICS)):
        resources = each["resources"]
        for amount in (*resources["requests"].values(), *resources["limits"].values()):
            assert re.fullmatch(r"[0-9]+(m|Mi|Gi)", amount)
