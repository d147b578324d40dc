"""Custom segments of a deployment: read from a file, or rejected with a reason."""

from collections.abc import Callable
from pathlib import Path

import pytest

from livesegments.config.segmentation import load, text_of
from livesegments.features.segmentation import Segmentation
from livesegments.model.naming import Segment
from tests.segmentations import PERSONAS, to_toml


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], str]:
    def write(text: str) -> str:
        path = tmp_path / "mine.toml"
        path.write_text(text, "utf-8")
        return str(path)

    return write


def test_the_file_of_a_built_in_one_reads_back_as_it_was(write: Callable[[str], str]) -> None:
    assert load(write(text_of("personas"))) == load("personas") == PERSONAS


def test_names_hold_any_character(write: Callable[[str], str]) -> None:
    odd = Segment("odd", 'Ünï "quoted" \\ \x7f\n# not a comment', "'''", (0.5, 0, 0, 0, -2))
    own = Segmentation(PERSONAS.features, (*PERSONAS.segments[:4], odd))
    assert load(write(to_toml(own))) == own


def test_the_order_of_features_does_not_matter(write: Callable[[str], str]) -> None:
    features = 'features = ["purchases", "spend", "age", "income", "urbanicity"]'
    turned = 'features = ["urbanicity", "income", "age", "spend", "purchases"]'
    assert features in TEMPLATE
    assert load(write(TEMPLATE.replace(features, turned))) == PERSONAS


TEMPLATE = text_of("personas")
FIRST = TEMPLATE.index("[[segment]]")
SECOND = TEMPLATE.index("[[segment]]", FIRST + 1)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('id = "families"', 'id = "Families!"', "[[segment]] 2, id: must be lower-case letters"),
        ('id = "families"', 'id = "none"', "[[segment]] 2, id: none stands for no segment"),
        ('id = "families"\n', "", "[[segment]] 2, id: is missing"),
        ('id = "families"', 'id = "retirees"', "[[segment]] 2 and 3 have the same id"),
        ('name = "Families"', 'name = "Retirees"', "[[segment]] 2 and 3 have the same name"),
        ('name = "Families"', 'nom = "F"', "[[segment]] 2, nom: is no field; those are"),
        ("age = 0.2", 'age = "old"', "[[segment]] 2, position.age: input should be a valid number"),
        ("age = 0.2", "age = nan", "[[segment]] 2, position.age: input should be a finite number"),
        ("age = 0.2", "age = 55", "[[segment]] 2, position.age: input should be less than or"),
        ("age = 0.2, ", "", "[[segment]] 2, position.age: is missing"),
        (
            "age = 0.2",
            "age = 0.2, luck = 1",
            "2, position.luck: is not one of the features",
        ),
        (
            "purchases = 0.1, spend = 0.2, age = 0.2, income = 0.1, urbanicity = -0.1",
            "purchases = -1.0, spend = -0.8, age = 1.5, income = -0.8, urbanicity = -1.2",
            "[[segment]] 2 and 3 have the same position",
        ),
        (TEMPLATE[SECOND:], "", "must be 2 to 12 [[segment]] tables, and there are 1"),
        (TEMPLATE[FIRST:], 3 * TEMPLATE[FIRST:], "2 to 12 [[segment]] tables, and there are 15"),
        (TEMPLATE[FIRST:], "", "must be 2 to 12 [[segment]] tables, and there are 0"),
        ("[[segment]]", "[[persona", "is not TOML"),
        ('"urbanicity"]', '"luck"]', "features: 'luck' is no feature; those are purchases"),
        ('"urbanicity"]', '"age"]', "features: each feature once"),
        ('["purchases", "spend", ', "[", "known of every customer: purchases, spend"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(
    write: Callable[[str], str], old: str, new: str, told: str
) -> None:
    assert old in TEMPLATE
    with pytest.raises(ValueError, match=r"mine\.toml") as raised:
        load(write(TEMPLATE.replace(old, new, 1)))
    assert told in str(raised.value)


def test_all_that_is_wrong_is_told_at_once(write: Callable[[str], str]) -> None:
    text = TEMPLATE.replace("age = 0.2", "age = nan").replace('id = "students"', 'id = "S"')
    with pytest.raises(ValueError, match="wrong") as raised:
        load(write(text))
    assert "[[segment]] 2, position.age" in str(raised.value)
    assert "[[segment]] 4, id" in str(raised.value)


def test_a_file_of_personas_says_how_it_becomes_a_segmentation(
    write: Callable[[str], str],
) -> None:
    features, _, rest = TEMPLATE.partition("[[segment]]")
    old = f"[[persona]]{rest.replace('[[segment]]', '[[persona]]')}"
    with pytest.raises(ValueError, match=r"rename each \[\[persona\]\]") as raised:
        load(write(old))
    moved = str(raised.value).rpartition("first: ")[2]
    assert moved in features
    assert load(write(f"{moved}\n{old.replace('[[persona]]', '[[segment]]')}")) == PERSONAS


def test_a_name_that_is_not_built_in_is_told() -> None:
    with pytest.raises(ValueError, match=r"rmf is neither built in \(personas.*nor a TOML file"):
        load("rmf")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"gone\.toml: No such file"):
        load(str(tmp_path / "gone.toml"))
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="not UTF-8"):
        load(str(tmp_path / "bytes.toml"))
