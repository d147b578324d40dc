"""Custom segments of a deployment: read from a file, or rejected with a reason."""

from collections.abc import Callable
from pathlib import Path

import pytest

from livesegments.config.personas import read, to_toml
from livesegments.model.personas import PERSONAS, Persona


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "mine.toml"
        path.write_text(text, "utf-8")
        return path

    return write


def test_the_template_reads_back_as_it_was(write: Callable[[str], Path]) -> None:
    assert read(write(to_toml(PERSONAS))) == PERSONAS


def test_whatever_a_name_holds_survives_the_template(write: Callable[[str], Path]) -> None:
    odd = Persona("odd", 'Ünï "quoted" \\ \x7f\n# not a comment', "'''", (0.5, 0, 0, 0, -2))
    personas = (*PERSONAS[:4], odd)
    assert read(write(to_toml(personas))) == personas


TEMPLATE = to_toml(PERSONAS)
FIRST = TEMPLATE.index("[[persona]]")
SECOND = TEMPLATE.index("[[persona]]", FIRST + 1)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('id = "families"', 'id = "Families!"', "[[persona]] 2, id: must be lower-case letters"),
        ('id = "families"', 'id = "none"', "[[persona]] 2, id: none stands for no segment"),
        ('id = "families"\n', "", "[[persona]] 2, id: is missing"),
        ('id = "families"', 'id = "retirees"', "[[persona]] 2 and 3 have the same id"),
        ('name = "Families"', 'name = "Retirees"', "[[persona]] 2 and 3 have the same name"),
        ('name = "Families"', 'nom = "F"', "[[persona]] 2, nom: is no field of a persona"),
        ("age = 0.2", 'age = "old"', "[[persona]] 2, position.age: input should be a valid number"),
        ("age = 0.2", "age = nan", "[[persona]] 2, position.age: input should be a finite number"),
        ("age = 0.2", "age = 55", "[[persona]] 2, position.age: input should be less than or"),
        ("age = 0.2, ", "", "[[persona]] 2, position.age: is missing"),
        ("age = 0.2", "age = 0.2, recency = 1", "position.recency: is no feature; those are purch"),
        (
            "purchases = 0.1, spend = 0.2, age = 0.2, income = 0.1, urbanicity = -0.1",
            "purchases = -1.0, spend = -0.8, age = 1.5, income = -0.8, urbanicity = -1.2",
            "[[persona]] 2 and 3 have the same position",
        ),
        (TEMPLATE[FIRST:SECOND], "", "must be 5 [[persona]] tables, and there are 4"),
        (TEMPLATE, "", "must be 5 [[persona]] tables, and there are 0"),
        ("[[persona]]", "[[persona", "is not TOML"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(
    write: Callable[[str], Path], old: str, new: str, told: str
) -> None:
    assert old in TEMPLATE
    with pytest.raises(ValueError, match=r"mine\.toml") as raised:
        read(write(TEMPLATE.replace(old, new, 1)))
    assert told in str(raised.value)


def test_all_that_is_wrong_is_told_at_once(write: Callable[[str], Path]) -> None:
    text = TEMPLATE.replace("age = 0.2", "age = nan").replace('id = "students"', 'id = "S"')
    with pytest.raises(ValueError, match="wrong") as raised:
        read(write(text))
    assert "[[persona]] 2, position.age" in str(raised.value)
    assert "[[persona]] 4, id" in str(raised.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"gone\.toml: No such file"):
        read(tmp_path / "gone.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="not UTF-8"):
        read(tmp_path / "bytes.toml")
