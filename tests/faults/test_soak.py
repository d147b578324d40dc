"""A short soak: everything that ``make soak`` does, a few times."""

import subprocess
import sys

import pytest

from tests.service import Service
from tests.soak import SETTINGS, Plan, Soak, Tally

pytestmark = pytest.mark.servers


@pytest.mark.timeout(300)
def test_a_short_soak_finds_no_fault(service: Service) -> None:
    service.environment |= {f"LIVESEGMENTS_{name}": value for name, value in SETTINGS.items()}
    plan = Plan(kills=3, publisher_kills=1, stops=1, rollbacks=1, emptyings=1, broker_kills=0)
    tally = Soak(service, service.folder, seed=3).run(plan)
    assert not tally.faults
    assert (tally.kills, tally.stops, tally.rollbacks) == (3, 1, 1)
    assert (tally.emptyings, tally.verifications) == (1, 1)
    assert tally.takeovers > 0
    assert tally.changes > 0
    assert tally.dead_letters > 0


def test_a_fault_is_told_and_ends_the_run(service: Service) -> None:
    service.environment |= {f"LIVESEGMENTS_{name}": value for name, value in SETTINGS.items()}
    soak = Soak(service, service.folder, seed=3)
    service.workers[0].terminate()  # a worker that exits by itself is a fault
    tally = soak.run(Plan(1, 0, 0, 0, 0, 0))
    assert "a worker ended by itself, exit code" in tally.faults[0]
    assert "1 FAULTS" in tally.lines()[-2]


def test_the_tally_is_told_for_people_and_for_scripts() -> None:
    tally = Tally(seed=1, kills=200, events=1_000_000)
    assert "200 kills" in tally.line()
    assert tally.lines()[-1].endswith(
        "0 lost, 0 doubled, every chain unbroken, statistics equal a recount"
    )


def test_help_says_what_there_is_to_choose() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "tests.soak", "--help"], capture_output=True, text=True, check=True
    )
    for option in ("--kills", "--stops", "--minutes", "--seed", "--segmentation", "--json"):
        assert option in shown.stdout
