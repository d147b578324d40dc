"""The settings that `livesegments backtest` compares."""

from collections.abc import Callable, Sequence
from itertools import product

from livesegments.analysis.backtest.results import Variant
from livesegments.config.segmentation import LEAST_SEGMENTS, MOST_SEGMENTS
from livesegments.config.settings import Settings
from livesegments.features.segmentation import Segmentation
from livesegments.model.naming import Segment

COMPARED = {
    "margin": "switch_margin",
    "dwell": "min_dwell",
    "window": "window_days",
    "tiles": "tiles",
    "warmup": "warmup_customers",
    "gain": "refit_gain",
    "segmentation": "segmentation",
}
"""Short names of the settings that can be compared."""
CLUSTERS = "k"
"""Name by which numbers of clusters are compared: without names, over the features that are set."""
MOST = 12


def variants(
    given: Settings, compare: Sequence[str], load: Callable[..., Settings]
) -> list[Variant]:
    """Return the settings to run: those given, and all combinations of the values to compare.

    ``compare`` has texts like ``margin=0,0.15,0.3``; ``load`` reads the settings with overrides.

    Raises `ValueError` if a text is no such list, or there are too many combinations.
    """
    choices = [_choices(text) for text in compare]
    if not choices:
        return [Variant("as set", given, is_given=True)]
    found: list[Variant] = []
    for combination in product(*choices):
        label = " ".join(f"{name}={value}" for name, value in combination)
        chosen = dict(combination)
        k = chosen.pop(CLUSTERS, None)
        try:
            settings = load(**{COMPARED[name]: value for name, value in chosen.items()})
            clusters = None if k is None else unnamed(settings.read_segmentation(), k)
        except ValueError as error:
            raise ValueError(f"--compare {label}: {error}") from None
        if (settings, clusters) not in [(each.settings, each.clusters) for each in found]:
            is_given = settings == given and clusters is None
            found.append(Variant(label, settings, is_given, clusters))
    if not any(each.is_given for each in found):
        found.insert(0, Variant("as set", given, is_given=True))
    if len(found) > MOST:
        raise ValueError(f"--compare makes {len(found)} combinations; {MOST} is the most")
    return found


def unnamed(segmentation: Segmentation, k: str) -> Segmentation:
    """Return k clusters without names, over the features of a segmentation.

    Raises `ValueError` if there cannot be so many.
    """
    if not k.isdecimal() or not LEAST_SEGMENTS <= int(k) <= MOST_SEGMENTS:
        raise ValueError(f"k must be from {LEAST_SEGMENTS} to {MOST_SEGMENTS}, not {k}")
    nowhere = (0.0,) * len(segmentation.features)
    numbers = range(1, int(k) + 1)
    return Segmentation(
        segmentation.features,
        tuple(Segment(f"cluster-{i}", f"Cluster {i}", "", nowhere) for i in numbers),
    )


def _choices(text: str) -> list[tuple[str, str]]:
    name, equals, values = text.partition("=")
    chosen = [value.strip() for value in values.split(",")]
    if name not in (*COMPARED, CLUSTERS) or not equals or not all(chosen):
        raise ValueError(
            f"--compare {text!r}: write NAME=VALUE,VALUE, as in margin=0,0.15,0.3; NAME is one of"
            f" {', '.join((*COMPARED, CLUSTERS))}"
        )
    return [(name, value) for value in chosen]
