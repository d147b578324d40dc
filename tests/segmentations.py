"""Segmentations that tests use; ``python -m tests.segmentations k=3`` prints the file of one."""

import json
import sys

import numpy as np

from livesegments.config.segmentation import built_in
from livesegments.features.feature_specs import BY_NAME
from livesegments.features.segmentation import Segmentation
from livesegments.model.naming import Segment, positions

PERSONAS, RFM = built_in("personas"), built_in("rfm")
POSITIONS = positions(PERSONAS.segments)
"""Expected positions of the personas, (5, 5)."""


def of_size(k: int, *features: str) -> Segmentation:
    """A segmentation of k segments in a row, from the lowest values to the highest."""
    levels = np.linspace(-2, 2, k).round(2).tolist()
    return Segmentation(
        tuple(BY_NAME[name] for name in features),
        tuple(
            Segment(f"s{i}", f"Segment {i}", "", (level,) * len(features))
            for i, level in enumerate(levels)
        ),
    )


SIZES = (
    of_size(2, "spend"),
    of_size(3, "spend", "basket", "age"),
    of_size(8, *BY_NAME),
    of_size(12, "purchases", "spend", "recency", "income"),
)

NAMED = {"personas": PERSONAS, "rfm": RFM, **{f"k={len(each.segments)}": each for each in SIZES}}
"""By the names that the simulation and the soak take."""


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


if __name__ == "__main__":
    sys.stdout.write(to_toml(NAMED[sys.argv[1]]))
