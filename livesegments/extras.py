"""Optional dependencies: the extras that ``pip install 'livesegments[NAME]'`` adds."""

from importlib.util import find_spec


class MissingExtraError(RuntimeError):
    """An extra is not installed; the message names it and what needs it."""


def require(extra: str, what: str, *modules: str) -> None:
    """Check that the modules of an extra are installed.

    Parameters
    ----------
    extra
        Name of the extra.
    what
        The command or format that needs it.
    *modules
        Top-level modules; none is imported.

    Raises
    ------
    MissingExtraError
        If one is missing.
    """
    for module in modules:
        if find_spec(module) is None:
            raise MissingExtraError(
                f"{what} needs {module}, which is not installed:"
                f" pip install 'livesegments[{extra}]'"
            )
