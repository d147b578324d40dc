"""Detection of another member of a consumer group with the same INSTANCE_ID.

The instance id is part of the transactional id: two workers that share it, or two processes of
`livesegments ingest`, fence each other's producer for ever. The younger one ends. Members of the
group tell their start time in the user data of their subscription, which its description shows.
"""

import time
from collections.abc import Mapping
from contextlib import closing, suppress
from typing import Any

from kafka.admin import KafkaAdminClient
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.errors import CoordinatorNotAvailableError, KafkaError
from kafka.protocol.consumer.metadata import ConsumerProtocolSubscription
from kafka.structs import MemberState

from livesegments.topic_prefix import open_admin

PAUSE_SECONDS = 0.5
MARGIN_SECONDS = 2.0
"""Time that a broker takes to notice that a session has ended."""


class DuplicateInstanceError(RuntimeError):
    """Another process with the same INSTANCE_ID is running."""


class DatedAssignor(RangePartitionAssignor):  # type: ignore[misc]
    """Range assignor whose subscription carries the process's start time.

    Parameters
    ----------
    started_us
        Start of the process, in microseconds since the epoch.
    """

    def __init__(self, started_us: int) -> None:
        self._user_data = str(started_us).encode()

    def metadata(self, topics: Any) -> ConsumerProtocolSubscription:
        """Return the subscription."""
        return ConsumerProtocolSubscription(self.version, list(topics), self._user_data)


class InstanceGuard:
    """Detector of group members with the client id of this process.

    Parameters
    ----------
    config
        Kafka client configuration; its client id contains the instance id.
    group_id
        Consumer group.
    instance
        Instance id, for the message.
    started_us
        Start of this process, as its `DatedAssignor` has it.
    """

    def __init__(
        self, config: Mapping[str, Any], group_id: str, instance: str, started_us: int
    ) -> None:
        self._config, self._group_id = dict(config), group_id
        self._instance, self._started_us = instance, started_us
        self._checked, self._again_at = -1, 0.0

    def wait_for_predecessor(self, session_seconds: float) -> None:
        """Wait until no member has this client id, as one that was killed has for a session.

        Raises
        ------
        DuplicateInstanceError
            If there still is one when its session must have ended.
        """
        deadline = time.monotonic() + session_seconds + MARGIN_SECONDS
        with closing(open_admin(**self._config)) as admin:
            while self._namesakes(admin)[1]:
                if time.monotonic() > deadline:
                    raise self._error()
                time.sleep(PAUSE_SECONDS)

    def look(self, membership: Any) -> None:
        """Check the group once in each of its generations.

        Two processes that start together do not see each other before they join.

        Raises
        ------
        DuplicateInstanceError
            If a member with this client id started earlier.
        """
        generation, now = membership.generation_id, time.monotonic()
        if (
            membership.state is not MemberState.STABLE
            or generation == self._checked
            or now < self._again_at
        ):
            return
        self._again_at = now + PAUSE_SECONDS
        with suppress(KafkaError):  # the coordinator is away: look again
            with closing(open_admin(**self._config)) as admin:
                stable, members = self._namesakes(admin)
            if not stable:  # without their metadata
                return
            self._checked = generation
            own = (self._started_us, membership.member_id)
            others = {name: at for name, at in members.items() if name != membership.member_id}
            if any((at, name) < own for name, at in others.items()):
                raise self._error()

    def _namesakes(self, admin: KafkaAdminClient) -> tuple[bool, dict[str, int]]:
        """Return whether the group is stable, and the start time of members by member id."""
        try:
            group = admin.describe_groups([self._group_id]).get(self._group_id, {})
        except CoordinatorNotAvailableError:  # no consumer group has ever existed
            return False, {}
        members = [
            member
            for member in group.get("members", ())
            if member["client_id"] == self._config["client_id"]
        ]
        return group.get("group_state") == "Stable", {
            member["member_id"]: _started_us(member["member_metadata"]) for member in members
        }

    def _error(self) -> DuplicateInstanceError:
        return DuplicateInstanceError(
            f"another process with the instance id {self._instance!r} is in group {self._group_id}:"
            " give each its own (LIVESEGMENTS_INSTANCE_ID)"
        )


def _started_us(metadata: Any) -> int:
    """Return the start time in a member's subscription; 0 for a process of an earlier version."""
    encoded = metadata.get("user_data") if isinstance(metadata, dict) else None
    return int(encoded) if isinstance(encoded, str) and encoded.isdecimal() else 0
