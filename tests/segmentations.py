"""Segmentations that tests use, and their files."""

import json

from livesegments.config.segmentation import built_in
from livesegments.features.segmentation import Segmentation
from livesegments.model.naming import positions

PERSONAS = built_in("personas")
POSITIONS = positions(PERSONAS.segments)
"""Expected positions of the personas, (5, 5)."""


def to_toml(segmentation: Segmentation) -> str:
    """The file of a segmentation."""
    names = segmentation.feature_names
    lines = [f"features = {json.dumps(names)}"]
    for each in segmentation.segments:
        position = ", ".join(f"{n} = {z}" for n, z in zip(names, each.position, strict=True))
        texts = {"id": each.id, "name": each.name, "description": each.description}
        lines += ["", "[[segment]]"]
        # A JSON string is a TOML string, except for one character that JSON does not escape.
        lines += [
            f"{field} = {json.dumps(text, ensure_ascii=False)}".replace("\x7f", "\\u007f")
            for field, text in texts.items()
        ]
        lines.append(f"position = {{ {position} }}")
    return "\n".join(lines) + "\n"
