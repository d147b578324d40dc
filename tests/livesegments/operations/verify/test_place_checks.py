"""Places of customers whose last change was made under other settings."""

from math import log1p
from unittest.mock import Mock

from livesegments.contracts.topics import PURCHASES
from livesegments.operations.verify.model_checks import STEPS
from livesegments.operations.verify.place_checks import _had_window
from livesegments.operations.verify.reference import DAY_US, History, Purchase


def test_the_cause_of_a_change_may_not_count_under_the_settings_of_now() -> None:
    history = History()
    history.purchases += [Purchase(0, 0, 1_000, 1, "a"), Purchase(1, DAY_US, 2_000, 1, "b")]
    record = Mock(place=(round(log1p(2) * STEPS), round(log1p(30) * STEPS)))
    at = Mock()
    at.deployed.tile_us, at.deployed.shape.tiles = DAY_US, 30
    at.deployed.features = ("purchases", "spend")
    at.records.cut.return_value.offsets = {PURCHASES: 9}
    at.clock_us.return_value = DAY_US

    def since(cause: int) -> bool:
        change = Mock(cause=Mock(topic=PURCHASES, offset=cause))
        return _had_window(at, "c1", record, change, history)

    assert since(0)
    assert since(1)
    assert since(7)  # such as one in another currency, after all that count
    record.place = (round(log1p(1) * STEPS), round(log1p(10) * STEPS))
    assert since(0)
    assert not since(1)
