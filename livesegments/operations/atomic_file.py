"""Files that commands write: under their name only when they are whole."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def unwritable(path: Path) -> str | None:
    """Return why a file cannot be written, to be told before the work for it; None if it can."""
    if path.is_dir():
        return f"{path} is a folder: name a file"
    folder = path.parent
    if not folder.is_dir():
        return f"{path}: there is no folder {folder}"
    written = path if _is_special(path) else folder
    return None if os.access(written, os.W_OK) else f"{path}: {written} is not writable"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a name to write to, which becomes ``path`` at the end, or goes after a failure.

    It is another each time, so that two who write the same file do not write into each other's.
    What is no file, such as ``/dev/stdout``, is written to as it is.
    """
    if _is_special(path):
        yield path
        return
    target = path.resolve()  # a link stays one
    unfinished = target.with_name(f"{target.name}.{secrets.token_hex(4)}.part")
    try:
        yield unfinished
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


def _is_special(path: Path) -> bool:
    return path.exists() and not path.is_file()
