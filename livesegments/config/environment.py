"""Names in the environment and settings files, and secrets read from files."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path

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


def with_secrets(given: Mapping[str, object], secrets: Iterable[str]) -> dict[str, object]:
    """Return settings with the content of each ``<secret>_file``, without its final newline.

    Raises
    ------
    ValueError
        If a file is unreadable or empty, or a secret is given both ways; names the setting.
    """
    settings = dict(given)
    for secret in secrets:
        file = settings.get(f"{secret}_file")
        if not file:
            continue
        name = f"{PREFIX}{secret.upper()}"
        if settings.get(secret):
            raise ValueError(f"{name} and {name}_FILE are both set: leave one out")
        try:
            content = Path(str(file)).read_text().removesuffix("\n").removesuffix("\r")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise ValueError(f"{name}_FILE: {file}: {why}") from None
        if not content:
            raise ValueError(f"{name}_FILE: {file} is empty")
        settings[secret] = content
    return settings
