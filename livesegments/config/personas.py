"""Custom personas of a deployment, from a TOML file."""

import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, field_validator

from livesegments.domain import CLUSTERS
from livesegments.features.feature_specs import FEATURES
from livesegments.model.personas import Persona
from livesegments.monitoring.metric_specs import NO_SEGMENT

_HEAD = """\
# Five segments of your own: LIVESEGMENTS_PERSONAS_FILE=this-file.toml
#
# id            lower-case letters, digits and hyphens; what subscribers act on, so it never changes
# name          for people
# description   one sentence
# position      where such customers stand, in standard deviations from the average customer: 0 is
#               average, 1 higher than five in six, -1 lower than five in six. Purchases and spend
#               are those of the window; urbanicity is high in towns. Clusters are named after the
#               personas they are nearest to.
"""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


_Place = Annotated[float, Field(ge=-5, le=5)]


_FIELDS: dict[str, Any] = dict.fromkeys(FEATURES, (_Place, ...))
_Position = create_model("_Position", __base__=_Strict, **_FIELDS)


class _Row(_Strict):
    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,63}$")]
    name: Annotated[str, Field(min_length=1, max_length=64)]
    description: Annotated[str, Field(max_length=500)]
    position: _Position

    @field_validator("id")
    @classmethod
    def _is_no_word_of_ours(cls, value: str) -> str:
        if value == NO_SEGMENT:
            raise ValueError(f"{NO_SEGMENT} stands for no segment; choose another")
        return value


class _File(_Strict):
    persona: Annotated[list[_Row], Field(min_length=CLUSTERS, max_length=CLUSTERS)]


def read(path: Path) -> tuple[Persona, ...]:
    """Read five personas.

    Raises
    ------
    ValueError
        If the file is unreadable or invalid; lists every invalid field and its rule.
    """
    try:
        content = tomllib.loads(path.read_text("utf-8"))
        rows = _File.model_validate(content).persona
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: is not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: is not TOML: {error}") from None
    except ValidationError as error:
        faults = "\n".join(f"  {_explain(each)}" for each in error.errors(include_url=False))
        raise ValueError(f"{path} is wrong:\n{faults}") from None
    personas = tuple(
        Persona(
            row.id, row.name, row.description, tuple(getattr(row.position, f) for f in FEATURES)
        )
        for row in rows
    )
    for field in ("id", "name", "position"):
        _must_differ(path, field, [getattr(persona, field) for persona in personas])
    return personas


def _explain(error: Any) -> str:
    place, message = list(error["loc"]), error["msg"].removeprefix("Value error, ")
    if not place or place == ["persona"]:
        found = len(error["input"]) if isinstance(error.get("input"), list) else 0
        return f"there must be {CLUSTERS} [[persona]] tables, and there are {found}"
    where = f"[[persona]] {place[1] + 1}, " if len(place) > 1 else ""
    field = ".".join(str(part) for part in place[2:] or place[-1:])
    what = {
        "missing": "is missing",
        "extra_forbidden": "is no field of a persona; those are id, name, description, position",
        "string_pattern_mismatch": "must be lower-case letters, digits and hyphens, a letter first,"
        f" 64 at most (it is {error.get('input')!r})",
    }.get(error["type"], f"{message[0].lower()}{message[1:]}")
    if error["type"] == "extra_forbidden" and "position" in place:
        what = f"is no feature; those are {', '.join(FEATURES)}"
    return f"{where}{field}: {what}"


def _must_differ(path: Path, field: str, values: Sequence[object]) -> None:
    for i, value in enumerate(values):
        if value in values[:i]:
            first = values.index(value)
            raise ValueError(
                f"{path}: [[persona]] {first + 1} and {i + 1} have the same {field}; give each its"
                " own"
            )


def to_toml(personas: Sequence[Persona]) -> str:
    """Return personas as a TOML file to use as a template."""
    return "\n".join([_HEAD, *(_table(persona) for persona in personas)])


def _table(persona: Persona) -> str:
    position = ", ".join(
        f"{feature} = {value}" for feature, value in zip(FEATURES, persona.position, strict=True)
    )
    return (
        f"[[persona]]\nid = {_quoted(persona.id)}\nname = {_quoted(persona.name)}\n"
        f"description = {_quoted(persona.description)}\nposition = {{ {position} }}\n"
    )


def _quoted(text: str) -> str:
    # A JSON string is a TOML string, except for one character that JSON does not escape.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def to_dict(persona: Persona) -> dict[str, Any]:
    """Return a persona as plain data for JSON."""
    return {
        "id": persona.id,
        "name": persona.name,
        "description": persona.description,
        "position": dict(zip(FEATURES, persona.position, strict=True)),
    }


def to_table(personas: Sequence[Persona]) -> list[str]:
    """Return personas as lines of a text table."""
    width = max(len("segment"), *(len(persona.id) for persona in personas))
    columns = " ".join(f"{name:>10}" for name in FEATURES)
    lines = [f"{'segment':<{width}} {columns}"]
    for persona in personas:
        cells = " ".join(f"{value:>+10.1f}" for value in persona.position)
        lines.append(f"{persona.id:<{width}} {cells}")
    lines += ["", "In standard deviations from the average customer: 0 is average.", ""]
    lines += [f"{persona.name}: {persona.description}" for persona in personas]
    return lines
