"""Refusals, which no retry fixes, and exponential backoff for all other errors."""

import time

from kafka.errors import AuthorizationError, SaslAuthenticationFailedError
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError

REFUSALS = (
    AuthorizationError,
    SaslAuthenticationFailedError,
    AuthenticationError,
    NoPermissionError,
)
"""Errors that no retry fixes: authentication or authorization failed."""

PAUSES_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0)


class Backoff:
    """Backoff that grows with consecutive failures; set ``failures`` to 0 after a success."""

    def __init__(self) -> None:
        self.failures = 0
        self._retry_at = 0.0

    def failed(self) -> float:
        """Count a failure; return the pause before the next attempt, in seconds."""
        pause = PAUSES_SECONDS[min(self.failures, len(PAUSES_SECONDS) - 1)]
        self.failures += 1
        self._retry_at = time.monotonic() + pause
        return pause

    @property
    def left(self) -> float:
        """Seconds until the next attempt."""
        return max(0.0, self._retry_at - time.monotonic())


def refusal(error: BaseException | None) -> BaseException | None:
    """Return the authorization error in an exception's chain, or None."""
    while error is not None and not isinstance(error, REFUSALS) and not _in_script(error):
        error = error.__cause__ or error.__context__
    return error


def _in_script(error: BaseException) -> bool:
    """Return whether a user lacked a permission inside a script, as reported before Redis 7.2."""
    return isinstance(error, ResponseError) and "The user executing the script" in str(error)


def describe(error: Exception) -> str:
    """Format an error in one line, without customer data."""
    return f"{type(error).__name__}: {without_data(error)}"[:500]


def without_data(error: Exception) -> str:
    """Return an error's message with only the key of a Redis command.

    redis-py quotes the whole command of a pipeline, including customer ids.
    """
    command, _, cause = str(error).rpartition(" of pipeline caused error: ")
    key = command.partition("(")[2].split(" ")[1:2]
    return " ".join([*key, cause])
