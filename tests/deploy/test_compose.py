"""Names in docker-compose.yml exist and its commands work, as far as testable without Docker."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis
from jsonschema import Draft202012Validator
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient

from livesegments.ingest.files import read_events
from livesegments.local_servers import free_ports
from tests import processes
from tests.deploy.documents import (
    ROOT,
    check_settings,
    compose,
    dockerfile,
    faults,
    health_check,
    parse_command,
    read_yaml,
)
from tests.servers import KafkaServer, RedisServer
from tests.service import Service

SERVICES: dict[str, dict[str, Any]] = compose()["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "livesegments"}

SPECIFICATION = Path(__file__).parent / "compose-spec.schema.json"
# Answer clients after each kilobyte that is loaded.
EVENTS = ("--loading-process-events-interval-bytes", "1024")
QUIET: dict[str, Any] = {"capture_output": True, "check": False}
DURATION = re.compile(r"[0-9]+(ms|s|m|h)")


def mounts() -> list[tuple[str, str, str]]:
    return [
        (name, *volume.split(":")[:2])
        for name, service in SERVICES.items()
        for volume in service.get("volumes", ())
    ]


def misfits(document: Any) -> list[str]:
    """Return a document's violations of the Compose Specification."""
    return faults(document, json.loads(SPECIFICATION.read_text()))


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(json.loads(SPECIFICATION.read_text()))


def test_the_file_keeps_the_schema_of_the_compose_specification() -> None:
    assert misfits(compose()) == []


def test_a_misspelt_name_and_a_wrong_condition_are_seen() -> None:
    document = compose()
    document["services"]["redis"]["restrat"] = "always"
    document["services"]["worker"]["depends_on"]["redis"]["condition"] = "service_there"
    assert len(misfits(document)) >= 2
    assert any("'restrat' was unexpected" in each for each in misfits(document))


def test_durations_have_a_unit() -> None:
    for service in SERVICES.values():
        check = service.get("healthcheck", {})
        for key in ("interval", "timeout", "start_period"):
            assert DURATION.fullmatch(check.get(key, "1s"))


def test_services_wait_for_services_that_can_meet_the_condition() -> None:
    for service in SERVICES.values():
        for name, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "test" in SERVICES[name]["healthcheck"]
            if how["condition"] == "service_completed_successfully":
                assert SERVICES[name]["restart"].startswith("on-failure")


@pytest.mark.parametrize("name", sorted(set(SERVICES) - set(OURS)))
def test_images_of_others_have_a_version(name: str) -> None:
    version = r"[a-z/]+:v?[0-9]+\.[0-9]+\.[0-9]+(-security-[0-9]+)?"
    assert re.fullmatch(version, SERVICES[name]["image"])


def test_one_service_builds_the_image_and_the_others_never_look_for_it_elsewhere() -> None:
    builds = {name for name, service in SERVICES.items() if "build" in service}
    assert builds == {"worker"}
    policies = {name: service.get("pull_policy") for name, service in OURS.items()}
    assert policies.pop("worker") is None
    assert set(policies.values()) == {"never"}


def test_commands_with_temporary_files_have_a_place_for_them() -> None:
    for service in OURS.values():
        assert service["read_only"]
        assert service["tmpfs"] == ["/tmp"]


def test_no_log_grows_without_bound() -> None:
    for service in SERVICES.values():
        assert service["logging"]["driver"] == "json-file"
        assert set(service["logging"]["options"]) == {"max-size", "max-file"}


def test_what_runs_for_long_is_started_again_and_stays_within_limits() -> None:
    for name, service in SERVICES.items():
        expected = {"topics": "on-failure:5", "replay": "no"}.get(name, "unless-stopped")
        assert service["restart"] == expected
        if expected == "unless-stopped":
            assert "test" in service.get("healthcheck", {}) or name == "worker"


def test_what_is_mounted_is_there() -> None:
    for _, source, _ in mounts():
        if source.startswith("."):
            assert (ROOT / source).exists(), source
        else:
            assert source in compose()["volumes"]
    assert set(compose()["volumes"]) == {s for _, s, _ in mounts() if not s.startswith(".")}


def test_ports_are_open_to_this_machine_only() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


@pytest.mark.parametrize("name", OURS)
def test_our_services_have_commands_and_settings_that_we_take(name: str) -> None:
    parse_command(OURS[name]["command"])
    settings = check_settings(OURS[name]["environment"])
    host, port = settings.kafka_bootstrap_servers.split(":")
    assert f"{host}:{port}" in SERVICES[host]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert "redis" in SERVICES


def test_no_secret_is_written_in_the_file() -> None:
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            assert "SECRET" not in name
            if "PASSWORD" in name:  # only for a port of this machine, and configurable from outside
                assert (name, value) == ("GF_SECURITY_ADMIN_PASSWORD", "admin")
    assert "${GRAFANA_ADMIN_PASSWORD:-admin}" in (ROOT / "docker-compose.yml").read_text()


def test_prometheus_scrapes_the_workers_at_their_port_and_finds_its_rules() -> None:
    [document] = read_yaml(ROOT / "deploy" / "prometheus.yml")
    scrape, *others = document["scrape_configs"]
    assert [each["job_name"] for each in others] == ["livesegments-ingest", "livesegments-serve"]
    [target] = scrape["dns_sd_configs"]
    assert target["names"] == ["worker"]
    assert target["port"] == check_settings(OURS["worker"]["environment"]).http_port
    assert ("EXPOSE", str(target["port"])) in dockerfile()
    mounted = {inside for name, _, inside in mounts() if name == "prometheus"}
    for rules in document["rule_files"]:
        assert f"/etc/prometheus/{rules}" in mounted
    [config] = [each for each in SERVICES["prometheus"]["command"] if "config.file" in each]
    assert config.removeprefix("--config.file=") in mounted


@pytest.mark.servers
def test_promtool_takes_the_configuration() -> None:
    assert shutil.which("promtool"), "no promtool: run scripts/install-servers"
    done = subprocess.run(
        ["promtool", "check", "config", str(ROOT / "deploy" / "prometheus.yml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_grafana_finds_its_dashboards_and_prometheus() -> None:
    provisioning = ROOT / "deploy" / "grafana" / "provisioning"
    mounted = {inside: source for name, source, inside in mounts() if name == "grafana"}
    assert ROOT / mounted["/etc/grafana/provisioning"] == provisioning
    for file in (provisioning / "dashboards").iterdir():
        [document] = read_yaml(file)
        for provider in document["providers"]:
            folder = ROOT / mounted[provider["options"]["path"]]
            assert list(folder.glob("*.json"))
    for file in (provisioning / "datasources").iterdir():
        [document] = read_yaml(file)
        for source in document["datasources"]:
            name, port = source["url"].removeprefix("http://").split(":")
            assert f"127.0.0.1:{port}:{port}" in SERVICES[name]["ports"]


def test_the_example_holds_only_rows_that_we_take(tmp_path: Path) -> None:
    folder = ROOT / "deploy" / "example"
    [replayed] = [source for name, source, _ in mounts() if name == "replay"]
    assert ROOT / replayed == folder
    rows = (folder / "purchases.csv").read_text().count("\n") - 1
    sent = list(read_events(folder / "purchases.csv", "purchases", currency="USD", timezone=None))
    assert len(sent) == rows
    assert len(list(read_events(folder / "profiles.csv", "profiles", timezone=None))) == 100


@pytest.mark.servers
def test_kafka_has_the_settings_that_are_given_to_it(kafka: KafkaServer) -> None:
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    broker = ConfigResource(ConfigResourceType.BROKER, "1")
    described = admin.describe_configs([broker], config_filter="all")
    admin.close()
    known = next(iter(described["broker"].values()))
    given = {
        name.removeprefix("KAFKA_").lower().replace("_", ".")
        for name in SERVICES["kafka"]["environment"]
        if name != "KAFKA_HEAP_OPTS"  # read by the start script
    }
    assert given <= set(known)


@pytest.mark.servers
def test_kafkas_health_check_starts_no_jvm_and_sees_the_port(kafka: KafkaServer) -> None:
    program, *command = SERVICES["kafka"]["healthcheck"]["test"]
    assert program == "CMD"
    assert command[0] == "bash"
    [closed] = free_ports(1)
    for port, code in ((kafka.port, 0), (closed, 1)):
        check = [word.replace("/9092", f"/{port}") for word in command]
        assert check != command
        done = subprocess.run(check, capture_output=True, check=False)
        assert done.returncode == code


@pytest.mark.servers
def test_redis_is_healthy_when_it_has_loaded_and_has_minutes_for_that(tmp_path: Path) -> None:
    check = SERVICES["redis"]["healthcheck"]
    assert check["start_period"] == "10m"
    shell, command = check["test"]
    assert shell == "CMD-SHELL"
    with RedisServer(tmp_path / "first") as server, server.client() as client:
        asked = command.replace("redis-cli", f"redis-cli -p {server.port}")
        assert subprocess.run(["sh", "-c", asked], check=False).returncode == 0
        client.mset({f"key{i}": i for i in range(10_000)})
        server.save(tmp_path / "dump.rdb")
    # A server that takes its time to load, 10 ms for each key.
    slow = ["redis-server", "--port", f"{server.port}", "--dir", str(tmp_path), "--save", ""]
    with subprocess.Popen(
        [*slow, "--key-load-delay", "10000", *EVENTS], stdout=subprocess.PIPE
    ) as loading:
        try:
            assert loading.stdout is not None
            while b"Loading RDB" not in loading.stdout.readline():
                pass
            done = subprocess.run(["redis-cli", "-p", f"{server.port}", "ping"], **QUIET)
            assert b"LOADING" in done.stdout + done.stderr
            assert subprocess.run(["sh", "-c", asked], check=False).returncode == 1
        finally:
            loading.kill()


@pytest.mark.servers
def test_redis_takes_its_command_line(tmp_path: Path) -> None:
    program, *options = SERVICES["redis"]["command"]
    assert program == "redis-server"
    pairs = zip(options[::2], options[1::2], strict=True)
    with (
        RedisServer(tmp_path, {name.removeprefix("--"): value for name, value in pairs}) as server,
        redis.Redis.from_url(server.url, decode_responses=True) as client,
    ):
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("appendonly") == {"appendonly": "yes"}


@pytest.mark.servers
def test_the_example_makes_segments_and_the_health_check_sees_the_worker(
    service: Service, tmp_path: Path
) -> None:
    [port] = free_ports(1)
    environment = service.full_environment(HTTP_PORT=str(port))
    check = [sys.executable if word == "python" else word for word in health_check()]
    assert subprocess.run(check, env=environment, capture_output=True, check=False).returncode

    folder = ROOT / "deploy" / "example"
    command = ["/history/purchases.csv", "--profiles", "/history/profiles.csv"]
    assert OURS["replay"]["command"] == ["replay", *command]
    here = [word.replace("/history", str(folder)) for word in command]
    replay = [sys.executable, "-m", "livesegments.cli", "replay", *here]
    processes.run(replay, env=environment, check=True)
    service.start(HTTP_PORT=str(port), WARMUP_CUSTOMERS="50")
    service.wait_for(service.has_model, "everyone is scored")
    subprocess.run(check, env=environment, check=True)
    service.wait()
    export = [sys.executable, "-m", "livesegments.cli", "export", str(tmp_path / "segments.csv")]
    done = processes.run(export, env=environment, check=True)
    assert "wrote 100 customers" in done.stdout
