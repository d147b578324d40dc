"""Optional dependencies: the extras that ``pip install 'livesegments[NAME]'`` adds."""

from importlib.util import find_spec


class MissingExtraError(RuntimeError):
    """An extra is not installed; the message names it and what needs it."""


def require(extra: str, what: str, *modules: str) -> None:
    """Check that the top-level modules of an extra are installed, without importing them.

    ``what`` is the command or format that needs it.

    Raises `MissingExtraError` if one is missing.
    """
    for module in modules:
        if find_spec(module) is None:
            raise MissingExtraError(
                f"{what} needs {module}, which is not installed:"
                f" pip install 'livesegments[{extra}]'"
            )
