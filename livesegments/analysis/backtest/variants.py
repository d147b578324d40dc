"""The settings that `livesegments backtest` compares."""

from collections.abc import Callable, Sequence
from itertools import product

from livesegments.analysis.backtest.results import Variant
from livesegments.config.settings import Settings, SettingsError

COMPARED = {
    "margin": "switch_margin",
    "dwell": "min_dwell",
    "window": "window_days",
    "tiles": "tiles",
    "warmup": "warmup_customers",
    "gain": "refit_gain",
}
"""Short names of the settings that can be compared."""
MOST = 12


def variants(
    given: Settings, compare: Sequence[str], load: Callable[..., Settings]
) -> list[Variant]:
    """Return the settings to run: those given, and all combinations of the values to compare.

    Parameters
    ----------
    given
        Settings of the environment.
    compare
        Texts like ``margin=0,0.15,0.3``.
    load
        Reads the settings again, with overrides.

    Raises
    ------
    ValueError
        If a text is no such list, or there are too many combinations.
    """
    choices = [_choices(text) for text in compare]
    if not choices:
        return [Variant("as set", given, is_given=True)]
    found: list[Variant] = []
    for combination in product(*choices):
        label = " ".join(f"{name}={value}" for name, value in combination)
        try:
            settings = load(**{COMPARED[name]: value for name, value in combination})
        except SettingsError as error:
            raise ValueError(f"--compare {label}: {error}") from None
        if settings not in [each.settings for each in found]:
            found.append(Variant(label, settings, is_given=settings == given))
    if not any(each.is_given for each in found):
        found.insert(0, Variant("as set", given, is_given=True))
    if len(found) > MOST:
        raise ValueError(f"--compare makes {len(found)} combinations; {MOST} is the most")
    return found


def _choices(text: str) -> list[tuple[str, str]]:
    name, equals, values = text.partition("=")
    chosen = [value.strip() for value in values.split(",")]
    if name not in COMPARED or not equals or not all(chosen):
        raise ValueError(
            f"--compare {text!r}: write NAME=VALUE,VALUE, as in margin=0,0.15,0.3; NAME is one of"
            f" {', '.join(COMPARED)}"
        )
    return [(name, value) for value in chosen]
