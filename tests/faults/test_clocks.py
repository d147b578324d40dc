"""A worker with a wrong wall clock does not process, says so, and does no harm."""

import json
import sys
from pathlib import Path

import pytest

from livesegments.config.settings import Settings
from livesegments.operations.doctor import examine
from tests.service import Service
from tests.test_time import bought, kept, shift

pytestmark = pytest.mark.servers

PEOPLE = [f"c{i:03d}" for i in range(80)]
YEARS = 730


@pytest.fixture
def days(service: Service, tmp_path: Path) -> Path:
    """The file that sets a shifted worker's clock ahead, for a service on the wall clock."""
    service.environment |= {"LIVESEGMENTS_CLOCK": "wall", "LIVESEGMENTS_REFIT": "off"}
    service.send(bought(PEOPLE, 1))
    file = tmp_path / "days"
    file.write_text("0")
    return file


def shifted(service: Service, days: Path, *more: str) -> None:
    service.launch([sys.executable, "-m", "tests.shifted_worker", str(days), *more])


def settled(service: Service) -> None:
    service.wait_for(service.has_model, "everyone is scored")
    service.wait()
    assert all(segment >= 0 for segment in kept(service).values())


def errors(service: Service, worker: int) -> list[str]:
    found = service.logs[worker].read_text().splitlines(keepends=True)
    lines = [json.loads(line) for line in found if line.endswith("\n")]
    return [line["error"] for line in lines if line["level"] == "error"]


def says(service: Service, worker: int, what: str) -> bool:
    """Return whether a worker is not ready and its last error names this."""
    told = errors(service, worker)
    return "clocks" in service.missing(worker) and bool(told) and what in told[-1]


@pytest.mark.timeout(180)
def test_a_worker_years_ahead_leaves_the_work_to_others_until_its_clock_is_right(
    service: Service, days: Path
) -> None:
    shifted(service, days, "alone")
    settled(service)
    before = kept(service)

    shift(days, YEARS)
    ahead, behind = "730 days ahead of Redis 127.0.0.1", "730 days behind"
    service.wait_for(lambda: says(service, 0, ahead), "it says so")
    assert kept(service) == before

    service.start()
    service.send(bought(["new"], 1))
    service.wait_for(lambda: "new" in kept(service), "another does the work")
    service.wait()
    service.verified()
    assert {name: kept(service)[name] for name in before} == before

    shift(days, 0)
    service.wait_for(lambda: not service.missing(0), "it works again")
    shift(days, -YEARS)
    service.wait_for(lambda: says(service, 0, behind), "behind is as wrong as ahead")
    service.wait_for(lambda: not service.missing(1), "the other has its partitions")
    service.send(bought(["newer"], 1))
    service.wait_for(lambda: "newer" in kept(service), "and works")
    service.wait()
    service.verified()


@pytest.mark.timeout(180)
def test_a_store_that_has_been_years_ahead_is_rebuilt(service: Service, days: Path) -> None:
    shifted(service, days)
    settled(service)
    shift(days, YEARS)
    service.wait_for(lambda: not kept(service), "all have stayed away for too long")
    service.wait()
    service.leave(service.workers[0])

    service.start()
    service.send(bought(PEOPLE, 1, seed=1))
    service.wait()
    assert not any(segment >= 0 for segment in kept(service).values())
    clocks = next(check for check in service.report().checks if check.name == "clocks")
    assert any("ahead of Redis" in fault for fault in clocks.faults)
    given = {
        name.removeprefix("LIVESEGMENTS_").lower(): value
        for name, value in service.environment.items()
    }
    settings = Settings.model_validate(given)
    found = [each for each in examine(settings) if each.name == "clocks"]
    assert [each.status for each in found] == ["fail"] * 4
    assert "livesegments rebuild" in found[0].fix

    assert service.command("rebuild", "--yes").returncode == 0
    service.wait_for(lambda: len(kept(service)) == len(PEOPLE), "it is rebuilt")
    service.wait()
    assert all(segment >= 0 for segment in kept(service).values())
    service.verified()
