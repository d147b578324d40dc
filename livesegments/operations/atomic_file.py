"""Atomic output files: they appear under their final name only when complete."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def unwritable(path: Path) -> str | None:
    """Return the reason why a file cannot be written, for an early error; None if it can."""
    if path.is_dir():
        return f"{path} is a folder: name a file"
    folder = path.parent
    if not folder.is_dir():
        return f"{path}: there is no folder {folder}"
    written = path if _is_special(path) else folder
    return None if os.access(written, os.W_OK) else f"{path}: {written} is not writable"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path that is renamed to ``path`` on success and deleted on failure.

    The temporary path is unique, so that concurrent writers of a file do not interfere. A special
    file such as ``/dev/stdout`` is written to directly.
    """
    if _is_special(path):
        yield path
        return
    target = path.resolve()  # preserve a symbolic link
    unfinished = target.with_name(f"{target.name}.{secrets.token_hex(4)}.part")
    try:
        yield unfinished
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


def _is_special(path: Path) -> bool:
    return path.exists() and not path.is_file()
