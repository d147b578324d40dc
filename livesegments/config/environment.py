"""Names in the environment and settings files."""

from collections.abc import Iterable
from difflib import get_close_matches

PREFIX = "LIVESEGMENTS_"


def unknown_names(names: Iterable[str], known: Iterable[str]) -> list[str]:
    """Return a message for each unknown name with the prefix, suggesting a known one."""
    known = [name.upper() for name in known]
    said = []
    for name in sorted({name.upper() for name in names}):
        own = name.removeprefix(PREFIX)
        if name.startswith(PREFIX) and own not in known:
            if own.endswith("_TOPIC"):
                said.append(
                    f"{name} is no setting: topics have the names of `livesegments topics create"
                    f" --print`, with {PREFIX}TOPIC_PREFIX in front"
                )
                continue
            near = get_close_matches(own, known, n=1, cutoff=0.7)
            meant = (
                f"; is {PREFIX}{near[0]} meant?" if near else ": `livesegments settings` has all"
            )
            said.append(f"{name} is no setting{meant}")
    return said
