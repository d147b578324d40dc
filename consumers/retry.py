"""What a worker waits out, how long, and how it is told."""

import time

from kafka.errors import AuthorizationError, KafkaError, SaslAuthenticationFailedError
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError

from livesegments.consumers.log_reader import LogStalledError
from livesegments.consumers.recovery.reconciliation import TakeoverRefusedError
from livesegments.consumers.recovery.replay import RecoveryInterruptedError
from livesegments.producers.publisher import PublishError

OUTAGES = (
    RedisError,
    KafkaError,
    PublishError,
    LogStalledError,
    TakeoverRefusedError,
    RecoveryInterruptedError,
)
"""What is waited out; anything else is a fault of the deployment or ours, and ends the worker."""

REFUSALS = (
    AuthorizationError,
    SaslAuthenticationFailedError,
    AuthenticationError,
    NoPermissionError,
)
"""What no waiting mends: a server knows the worker, or not, and does not let it."""

PAUSES_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0)


class Backoff:
    """Longer pauses with every failure in a row."""

    def __init__(self) -> None:
        self.failures = 0
        self._retry_at = 0.0

    def failed(self) -> float:
        """Count a failure; return the pause before the next try, in seconds."""
        pause = PAUSES_SECONDS[min(self.failures, len(PAUSES_SECONDS) - 1)]
        self.failures += 1
        self._retry_at = time.monotonic() + pause
        return pause

    def succeeded(self) -> None:
        """Begin with short pauses again."""
        self.failures = 0

    @property
    def left(self) -> float:
        """Seconds until the next try."""
        return max(0.0, self._retry_at - time.monotonic())


def refusal(error: BaseException | None) -> BaseException | None:
    """Return the refusal that an error comes from, None when it comes from none."""
    while error is not None and not isinstance(error, REFUSALS) and not _in_script(error):
        error = error.__cause__ or error.__context__
    return error


def _in_script(error: BaseException) -> bool:
    """Whether a user lacked a permission inside a script, as Redis before 7.2 says it."""
    return isinstance(error, ResponseError) and "The user executing the script" in str(error)


def describe(error: Exception) -> str:
    """Return an error in a line, without the data it was about."""
    return f"{type(error).__name__}: {without_data(error)}"[:500]


def without_data(error: Exception) -> str:
    """Return an error's message with no more of a Redis command than its key.

    redis-py quotes a pipeline's whole command, and with it customers' ids.
    """
    command, _, cause = str(error).rpartition(" of pipeline caused error: ")
    key = command.partition("(")[2].split(" ")[1:2]
    return " ".join([*key, cause])
