"""Segmentations: the built-in ones, and a deployment's own from a TOML file."""

import tomllib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from livesegments.features.feature_specs import BY_NAME, CATALOGUE
from livesegments.features.segmentation import Segmentation
from livesegments.model.naming import Segment
from livesegments.monitoring.series import NO_SEGMENT

BUILT_IN = ("personas", "rfm")
LEAST_SEGMENTS, MOST_SEGMENTS = 2, 12


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class _Row(_Strict):
    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,63}$")]
    name: Annotated[str, Field(min_length=1, max_length=64)]
    description: Annotated[str, Field(max_length=500)]
    position: dict[str, Annotated[float, Field(ge=-5, le=5)]]

    @field_validator("id")
    @classmethod
    def _is_no_word_of_ours(cls, value: str) -> str:
        if value == NO_SEGMENT:
            raise ValueError(f"{NO_SEGMENT} stands for no segment; choose another")
        return value


class _File(_Strict):
    features: list[str]
    segment: Annotated[list[_Row], Field(min_length=LEAST_SEGMENTS, max_length=MOST_SEGMENTS)]

    @field_validator("features")
    @classmethod
    def _are_features(cls, names: list[str]) -> list[str]:
        if unknown := [name for name in names if name not in BY_NAME]:
            raise ValueError(f"{unknown[0]!r} is no feature; those are {', '.join(BY_NAME)}")
        if len(set(names)) < len(names):
            raise ValueError("each feature once")
        if all(BY_NAME[name].is_profile for name in names):
            bought = ", ".join(each.name for each in CATALOGUE if not each.is_profile)
            raise ValueError(f"at least one must be known of every customer: {bought}")
        return names


def load(name_or_path: str) -> Segmentation:
    """Return a built-in segmentation by its name, or that of a file.

    Raises `ValueError` if the file is unreadable or invalid; lists every invalid field and its
    rule.
    """
    if name_or_path in BUILT_IN:
        return built_in(name_or_path)
    path = Path(name_or_path)
    try:
        return _parse(text_of(name_or_path), str(path))
    except FileNotFoundError as error:
        if path.suffix:
            raise ValueError(f"{path}: {error.strerror}") from None
        known = ", ".join(BUILT_IN)
        raise ValueError(f"{path} is neither built in ({known}) nor a TOML file") from None
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: is not UTF-8 text") from None


def text_of(name_or_path: str) -> str:
    """Return the file of a segmentation, also of a built-in one."""
    if name_or_path in BUILT_IN:
        return files("livesegments.config").joinpath(f"{name_or_path}.toml").read_text("utf-8")
    return Path(name_or_path).read_text("utf-8")


@cache
def built_in(name: str) -> Segmentation:
    """Return a built-in segmentation."""
    return _parse(text_of(name), name)


def _parse(text: str, where: str) -> Segmentation:
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{where}: is not TOML: {error}") from None
    if "persona" in content:
        raise ValueError(
            f"{where}: rename each [[persona]] to [[segment]], and put this line before the first:"
            f" {FEATURES_OF_PERSONAS}"
        )
    try:
        found = _File.model_validate(content)
    except ValidationError as error:
        raise _wrong(where, [_explain(each) for each in error.errors(include_url=False)]) from None
    features = tuple(each for each in CATALOGUE if each.name in found.features)
    names = [each.name for each in features]
    faults = [
        f"[[segment]] {number}, position.{fault}"
        for number, row in enumerate(found.segment, 1)
        for fault in _misplaced(row.position, names)
    ]
    if faults:
        raise _wrong(where, faults)
    segments = tuple(
        Segment(row.id, row.name, row.description, tuple(row.position[name] for name in names))
        for row in found.segment
    )
    for field in ("id", "name", "position"):
        _must_differ(where, field, [getattr(segment, field) for segment in segments])
    return Segmentation(features, segments)


FEATURES_OF_PERSONAS = 'features = ["purchases", "spend", "age", "income", "urbanicity"]'


def _wrong(where: str, faults: Sequence[str]) -> ValueError:
    return ValueError(f"{where} is wrong:\n" + "\n".join(f"  {fault}" for fault in faults))


def _misplaced(position: dict[str, float], features: Sequence[str]) -> list[str]:
    chosen = ", ".join(features)
    return [f"{name}: is missing" for name in features if name not in position] + [
        f"{name}: is not one of the features of this file, {chosen}"
        for name in position
        if name not in features
    ]


def _explain(error: Any) -> str:
    place, message = list(error["loc"]), error["msg"].removeprefix("Value error, ")
    if place == ["segment"]:
        found = len(error["input"]) if isinstance(error.get("input"), list) else 0
        return (
            f"there must be {LEAST_SEGMENTS} to {MOST_SEGMENTS} [[segment]] tables, and there are"
            f" {found}"
        )
    in_segment = place[0] == "segment" and len(place) > 1
    where = f"[[segment]] {place[1] + 1}, " if in_segment else ""
    field = ".".join(str(part) for part in (place[2:] if in_segment else place))
    fields = "id, name, description, position" if in_segment else "features, segment"
    what = {
        "missing": "is missing",
        "extra_forbidden": f"is no field; those are {fields}",
        "string_pattern_mismatch": "must be lower-case letters, digits and hyphens, a letter first,"
        f" 64 at most (it is {error.get('input')!r})",
    }.get(error["type"], f"{message[0].lower()}{message[1:]}")
    return f"{where}{field}: {what}"


def _must_differ(where: str, field: str, values: Sequence[object]) -> None:
    for i, value in enumerate(values):
        if value in values[:i]:
            first = values.index(value)
            raise ValueError(
                f"{where}: [[segment]] {first + 1} and {i + 1} have the same {field}; give each its"
                " own"
            )


def to_dict(segmentation: Segmentation) -> dict[str, Any]:
    """Return a segmentation as plain data for JSON."""
    names = segmentation.feature_names
    return {
        "features": list(names),
        "segments": [
            {
                "id": segment.id,
                "name": segment.name,
                "description": segment.description,
                "position": dict(zip(names, segment.position, strict=True)),
            }
            for segment in segmentation.segments
        ],
    }


def to_table(segmentation: Segmentation) -> list[str]:
    """Return a segmentation as lines of a text table."""
    segments = segmentation.segments
    width = max(len("segment"), *(len(segment.id) for segment in segments))
    columns = " ".join(f"{name:>10}" for name in segmentation.feature_names)
    lines = [f"{'segment':<{width}} {columns}"]
    for segment in segments:
        cells = " ".join(f"{value:>+10.1f}" for value in segment.position)
        lines.append(f"{segment.id:<{width}} {cells}")
    lines += ["", "In standard deviations from the average customer: 0 is average.", ""]
    lines += [f"{segment.name}: {segment.description}" for segment in segments]
    return lines
