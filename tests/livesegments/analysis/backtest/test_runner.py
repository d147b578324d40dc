"""From files to results: rows read, rows skipped, and outcomes."""

from datetime import timedelta
from pathlib import Path

import pytest

from livesegments.analysis.backtest.results import Variant
from livesegments.analysis.backtest.runner import Backtest, NothingReadError, backtest, shown
from livesegments.analysis.backtest.variants import variants
from livesegments.analysis.backtest.views import text
from livesegments.config.settings import Settings, SettingsError
from livesegments.ingest.file_formats import FileOptions
from tests.livesegments.analysis.backtest.shop import rows, settings, write

ROWS = rows(days=40)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("shop") / "history.csv", ROWS)


@pytest.fixture(scope="module")
def found(file: Path) -> Backtest:
    margins = [Variant(f"margin={m}", settings(switch_margin=m)) for m in (0.0, 0.5)]
    return backtest(file, None, [Variant("as set", settings(), is_given=True), *margins])


def test_what_was_read_is_counted(found: Backtest) -> None:
    assert found["data"]["purchases"] == len(ROWS)
    assert found["data"]["rejected"] == {}
    assert found["data"]["first"] == "2026-01-01"
    assert shown(found)["customers"] == sum(each["customers"] for each in shown(found)["segments"])
    assert shown(found)["unknown"] == {
        "purchases": 0.0,
        "spend": 0.0,
        "age": 1.0,
        "income": 1.0,
        "urbanicity": 1.0,
    }


def test_the_outcome_shown_is_that_of_the_given_settings(found: Backtest) -> None:
    assert shown(found)["label"] == "as set"
    assert shown(found | {"outcomes": found["outcomes"][1:]})["label"] == "margin=0.0"


def test_sizes_add_up_to_who_came_less_who_went(found: Backtest) -> None:
    for outcome in found["outcomes"]:
        for segment in outcome["segments"]:
            came = sum(row[segment["id"]] for row in outcome["transitions"].values())
            went = sum(outcome["transitions"][segment["id"]].values())
            assert outcome["sizes"][segment["id"]][-1] == segment["customers"] == came - went


def test_moves_by_day_and_by_origin_are_all_moves(found: Backtest) -> None:
    for outcome in found["outcomes"]:
        s = outcome["stability"]
        assert sum(map(sum, outcome["moves"].values())) == s["reassigned"] + s["unassigned"]
        assert sum(s["origins"].values()) == s["reassigned"] + s["unassigned"]
        assert s["a_day"] == pytest.approx(
            (s["reassigned"] + s["unassigned"]) / len(outcome["days"]), abs=0.01
        )
        lengths = {len(row) for row in (*outcome["moves"].values(), *outcome["sizes"].values())}
        assert lengths == {len(outcome["days"])}


def test_a_margin_makes_changes_fewer_and_is_said_to_hold_them(found: Backtest) -> None:
    _, free, held = (outcome["stability"] for outcome in found["outcomes"])
    assert free["reassigned"] > held["reassigned"]
    assert free["held_by_margin"] == 0 < held["held_by_margin"]
    assert free["not_nearest"] == 0 < held["not_nearest"]
    assert free["returned"] > held["returned"]


def test_a_dwell_is_said_to_hold_changes(file: Path) -> None:
    slow = settings(min_dwell=timedelta(days=15), switch_margin=0.0)
    outcome = shown(backtest(file, None, [Variant("slow", slow)]))
    assert outcome["stability"]["held_by_dwell"] > 0
    assert outcome["stability"]["held_by_margin"] == 0


def test_settings_run_together_come_to_what_they_come_to_alone(found: Backtest, file: Path) -> None:
    alone = backtest(file, None, [Variant("margin=0.5", settings(switch_margin=0.5))])
    assert alone["outcomes"][0] == found["outcomes"][2]


def test_with_behaviour_alone_names_tell_who_buys_most_and_least(found: Backtest) -> None:
    by_id = {segment["id"]: segment for segment in shown(found)["segments"]}
    spend = {name: segment["centroid"]["spend"] or 0.0 for name, segment in by_id.items()}
    assert max(spend, key=lambda name: spend[name]) == "high-value-customers"
    assert min(spend, key=lambda name: spend[name]) == "retirees"
    for segment in by_id.values():
        assert segment["named_by"] == ("purchases", "spend")
        assert segment["persona_distance"] is not None
        assert segment["centroid"]["age"] is None


def test_profiles_are_known_from_the_start(file: Path, tmp_path: Path) -> None:
    profiles = tmp_path / "profiles.csv"
    lines = [f"c{i},2026-01-01T00:00:00Z,{20 + i},{20_000 + i * 500},urban" for i in range(30)]
    profiles.write_text("\n".join(["customer_id,updated_at,age,income,location", *lines]))
    found = backtest(file, profiles, [Variant("", settings())])
    assert found["data"]["profiles"] == 30
    assert 0 < shown(found)["unknown"]["age"] < 1
    assert all("age" in segment["named_by"] for segment in shown(found)["segments"])


def test_broken_rows_are_left_out_and_counted_by_why(tmp_path: Path) -> None:
    file = write(tmp_path / "h.csv", ROWS[:200])
    with file.open("a") as end:
        end.write("x,2026-02-01T00:00:00Z,-5\ny,2026-02-01T00:00:00Z,nothing\nz,,7\n")
        end.write("v,1950-01-01T00:00:00Z,7\n")
    found = backtest(file, None, [Variant("", settings())])
    assert found["data"]["purchases"] == 200
    assert sum(found["data"]["rejected"].values()) == 4
    assert found["data"]["rejected"]["occurred_at: is missing"] == 1
    assert found["data"]["rejected"]["too_old"] == 1


def test_what_the_future_brings_is_rejected(tmp_path: Path) -> None:
    times = ("2026-01-01T00:00:00Z", "2026-01-01T00:10:00Z", "2205-01-01T00:00:00Z")
    file = write(tmp_path / "p.csv", [("a", at, 5.0) for at in times])
    now_ms = 1_767_225_600_000  # the first
    found = backtest(file, None, [Variant("", settings())], now_ms=now_ms)
    assert (found["data"]["purchases"], found["data"]["rejected"]) == (1, {"future_dated": 2})


def test_another_currency_is_rejected(tmp_path: Path) -> None:
    file = tmp_path / "h.csv"
    file.write_text(
        "customer_id,occurred_at,amount,currency\na,2026-01-01T00:00:00Z,5,USD\n"
        "b,2026-01-01T00:00:00Z,5,EUR\n"
    )
    found = backtest(file, None, [Variant("", settings())])
    assert (found["data"]["purchases"], found["data"]["rejected"]) == (1, {"bad_currency": 1})
    assert shown(found)["segments"] == []


def test_repeats_and_what_comes_too_late_are_counted(tmp_path: Path) -> None:
    old = ("late", "2026-01-01T00:00:00Z", 5.0)
    file = write(tmp_path / "h.csv", [*ROWS, old])
    found = backtest(file, None, [Variant("", settings())])
    assert shown(found)["late"] == 1
    by_customer = write(tmp_path / "by_customer.csv", sorted(ROWS))
    assert shown(backtest(by_customer, None, [Variant("", settings())]))["late"] > len(ROWS) / 4
    same = write(tmp_path / "same.csv", ROWS, event_id="always-the-same")
    data = backtest(same, None, [Variant("", settings(dedup_events=100_000))])["data"]
    # Purchases of other content count, although their id is no event's.
    assert data["purchases"] + data["duplicates"] == len(ROWS)
    assert 0 < data["duplicates"] < 100 < data["event_id_conflicts"] == data["purchases"] - 1


def test_ids_that_no_person_has_are_named(tmp_path: Path) -> None:
    some = ROWS[: len(ROWS) // 4]
    guests = [("guest", at, amount) for _, at, amount in some]
    file = write(
        tmp_path / "h.csv", [row for pair in zip(some, guests, strict=True) for row in pair]
    )
    found = backtest(file, None, [Variant("", settings())])
    assert [each["customer_id"] for each in found["data"]["implausible_ids"]] == ["guest"]
    assert "'guest', a placeholder, has 50.0% of the purchases" in " ".join(text(found).split())
    found = backtest(write(tmp_path / "p.csv", some), None, [Variant("", settings())])
    assert found["data"]["implausible_ids"] == []


def test_a_file_without_a_purchase_is_an_error_that_says_why(tmp_path: Path) -> None:
    file = write(tmp_path / "h.csv", [("a", "2026-01-01 10:00", 5.0)])
    with pytest.raises(NothingReadError, match=r"h\.csv, line 2, occurred_at: has no UTC offset"):
        backtest(file, None, [Variant("", settings())])
    found = backtest(file, None, [Variant("", settings())], timezone="Europe/Berlin")
    assert found["data"]["purchases"] == 1
    with pytest.raises(NothingReadError, match="can be counted; refused: bad_currency"):
        backtest(
            write(tmp_path / "e.csv", [("a", "2026-01-01T10:00:00Z", 5.0)]),
            None,
            [Variant("", settings())],
            options=FileOptions(
                "SELECT customer_id, occurred_at, amount, 'EUR' AS currency FROM source"
            ),
        )


def test_progress_is_told_up_to_the_last_record(file: Path) -> None:
    told: list[int] = []
    backtest(file, None, [Variant("", settings())], progress=told.append)
    assert told == sorted(told)
    assert told[-1] == len(ROWS)


def load(**changed: object) -> Settings:
    try:
        return settings(**{name: float(str(value)) for name, value in changed.items()})
    except ValueError as error:
        raise SettingsError(str(error)) from None


def test_without_a_comparison_the_given_settings_run() -> None:
    [only] = variants(settings(), [], load)
    assert only == Variant("as set", settings(), is_given=True)


def test_a_comparison_runs_all_values_and_the_given_ones_once() -> None:
    found = variants(settings(), ["margin=0,0.15,0.3"], load)
    assert [each.label for each in found] == ["margin=0", "margin=0.15", "margin=0.3"]
    assert [each.is_given for each in found] == [False, True, False]
    found = variants(settings(), ["margin=0.4,0.4", "dwell=0, 60"], load)
    assert [each.label for each in found] == [
        "as set",
        "margin=0.4 dwell=0",
        "margin=0.4 dwell=60",
    ]


@pytest.mark.parametrize(
    ("compare", "told"),
    [
        (["margin"], "write NAME=VALUE"),
        (["speed=1,2"], "NAME is one of margin, dwell"),
        (["margin=0,,1"], "write NAME=VALUE"),
        (["margin=2"], "--compare margin=2: "),
        (["margin=0,0.1,0.2,0.3", "window=10,20,30,40"], "17 combinations; 12 is the most"),
    ],
)
def test_a_comparison_that_makes_no_sense_is_told(compare: list[str], told: str) -> None:
    with pytest.raises(ValueError, match="compare") as raised:
        variants(settings(), compare, load)
    assert told in str(raised.value)
