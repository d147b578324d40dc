"""The protections of the protocol, each with the edit that removes it from the code."""

import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from livesegments.config import clients
from livesegments.consumers import aggregation, decoding, processor, transitions, worker
from livesegments.consumers.clocks import Clocks
from livesegments.consumers.data_loss import LossCheck
from livesegments.consumers.log_reader import LogReader
from livesegments.consumers.partition_state import PartitionState
from livesegments.consumers.polling import RebalanceListener
from livesegments.consumers.recovery import ownership, reconciliation
from livesegments.consumers.recovery.ownership import Extent
from livesegments.consumers.recovery.replay import Recovery
from livesegments.consumers.worker import Worker
from livesegments.features import aggregate
from livesegments.producers.publisher import Publisher
from livesegments.store import partitions
from tests.simulation import harness
from tests.simulation.database import Database


@dataclass(frozen=True)
class Edit:
    """A function, by its lookup path, with one piece of its source replaced."""

    owner: Any
    name: str
    old: str
    new: str

    def mutated(self) -> Callable[..., Any]:
        """Return the function as edited."""
        function = getattr(self.owner, self.name)
        source = textwrap.dedent(inspect.getsource(function))
        if source.count(self.old) != 1:
            raise ValueError(f"{self.name} does not say {self.old!r} once: adapt the mutation")
        names = vars(sys.modules[function.__module__])
        made: dict[str, Any] = {}
        exec(source.replace(self.old, self.new), names, made)  # noqa: S102 - our own source
        return made[self.name]  # type: ignore[no-any-return]


MUTATIONS: dict[str, Sequence[Edit]] = {
    "nonce": [
        # commit.lua in Python, which test_database.py compares with Redis.
        Edit(
            Database,
            "same_writer",
            '(now.get(b"version", b"0"), now.get(b"nonce", b"")) == tuple(expected)',
            'now.get(b"version", b"0") == expected[0]',
        )
    ],
    "sizes at a commit": [
        Edit(Database, "_commit", "if not emptied and written", "if False and written"),
    ],
    "sizes at a takeover": [
        Edit(reconciliation.Reconciler, "_find", "if stored.is_damaged:", "if False:"),
    ],
    "seen": [
        Edit(
            ownership,
            "is_current",
            "own_line or committed.metadata == checkpoint.seen",
            "committed.version <= checkpoint.version",
        )
    ],
    "futures": [Edit(Publisher, "publish", "for each in sent:", "for each in sent[:0]:")],
    "membership at poll": [
        Edit(
            Worker,
            "_work",
            "self._publish(membership, behind=behind)",
            "self._publish(self._consumer.group_metadata(), behind=behind)",
        )
    ],
    "generation at poll": [
        Edit(Worker, "step", "state is not MemberState.STABLE", "state is MemberState.REBALANCING")
    ],
    "assignment at poll": [
        Edit(Worker, "step", "state is not MemberState.STABLE", "state is MemberState.UNJOINED")
    ],
    "joins are ended": [
        Edit(
            RebalanceListener,
            "on_partitions_revoked",
            "self._consumer._coordinator.request_rejoin()",
            "pass",
        )
    ],
    "stable offsets": [
        Edit(clients, "group_consumer", '"read_committed"', '"read_uncommitted"'),
        Edit(harness, "group_consumer", '"read_committed"', '"read_uncommitted"'),
    ],
    "dead letters in the outbox": [
        Edit(
            partitions,
            "_arguments",
            "commit.entry.data]",
            "Entry.of(commit.entry.version, commit.entry.offsets, ["
            'o for o in commit.entry.outputs if "dead-letters" not in o.topic]).data]',
        )
    ],
    "uncommitted end": [
        Edit(LogReader, "ends", "ends_of(self._uncommitted", "ends_of(self._committed")
    ],
    "adoption": [
        Edit(
            Recovery,
            "_adopt",
            'records["segment"], records["since"], records["version"] = segment, since, versions',
            "del segment, since, versions",
        )
    ],
    "bound of the replay": [
        Edit(Recovery, "_replay", "if committed else", "if False else"),
    ],
    "consent stated again": [
        Edit(Recovery, "run", "state = self._restate(state, published)", "pass")
    ],
    "scoring after a recovery": [Edit(Recovery, "_begin", "rescore=AFTER_RECOVERY", "rescore=0")],
    "version above all published": [
        Edit(
            Recovery,
            "_adopt",
            "max(state.checkpoint.version, published.version)",
            "state.checkpoint.version",
        ),
    ],
    "recovery under way": [Edit(Recovery, "_begin", "recovering=source", "recovering=0")],
    "dead letters kept": [Edit(Recovery, "_keep_dead_letters", "if is_due(out)", "if False")],
    "only unpublished records": [
        Edit(
            reconciliation.Reconciler,
            "_become_owner",
            "for entry in stored.outbox if entry.version > published",
            "for entry in stored.outbox",
        )
    ],
    "refusals": [Edit(Worker, "_commit", "if not all(accepted):", "if False:")],
    "look at the store when idle": [
        Edit(Worker, "_work", "check_owner(self._store, idle)", "pass"),
    ],
    "look at the store of idle partitions": [
        Edit(
            Worker,
            "_work",
            "check_owner(self._store, idle)",
            "check_owner(self._store, [] if new else idle)",
        ),
    ],
    "new producer after an error": [
        Edit(
            Publisher,
            "abandon",
            "producer, self._producer = self._producer, None",
            "producer = None",
        )
    ],
    "pause before a takeover": [Edit(Worker, "_poll", "if not self._reconcile_due:", "if True:")],
    "offsets past markers": [
        Edit(worker, "tidied", "consumer.position(TopicPartition(topic, state.partition))", "0")
    ],
    "offsets past markers at a stop": [
        Edit(
            Worker,
            "run",
            "self._commit(tidied(self._consumer, list(self.states.values())))",
            "pass",
        )
    ],
    "unread records": [
        Edit(
            reconciliation.Reconciler,
            "_check_losses",
            "check.check_unread(partition, inputs, checkpoint)",
            "pass",
        )
    ],
    "a window of a lost store": [
        Edit(
            reconciliation.Reconciler,
            "_check_losses",
            "check.check_window(partition, inputs, anyone_counts)",
            "pass",
        )
    ],
    "a store with unread records gone is kept": [
        Edit(
            Extent,
            "is_of",
            'not self.topics or checkpoint.topics in ("", self.topics)',
            "all(map(int.__ge__, checkpoint.offsets, self.start))",
        )
    ],
    "no purchase left": [Edit(LossCheck, "check_window", "and not anyone_counts()", "")],
    "origin of a recovery": [
        Edit(processor, "changes_of", "state.checkpoint.rescore == AFTER_RECOVERY", "False")
    ],
    "wall clock of a lost store": [
        Edit(LossCheck, "_outlived", "if not self.config.event_clock:", "if False:")
    ],
    "ends of logs": [Edit(LossCheck, "check_ends", "if offset > end:", "if False:")],
    "replay within the log": [
        Edit(
            Recovery, "_replay", "self.found.inputs.within(committed.offsets)", "committed.offsets"
        )
    ],
    "nothing is added to an outbox that waits": [
        Edit(
            Worker,
            "_reconcile",
            "self._publications.publish_all(states, self._membership, self._stay_in_group)",
            "pass",
        )
    ],
    "transactions are bounded": [
        Edit(PartitionState, "portion", "if cut and size > most_bytes:", "if False:")
    ],
    "oldest versions first": [
        Edit(
            PartitionState,
            "portion",
            "entries, last = entries[:cut]",
            "entries, last = entries[-cut:]",
        )
    ],
    "offsets as of the version": [
        Edit(PartitionState, "portion", "last.offsets", "self.checkpoint.offsets")
    ],
    "metadata as of the version": [
        Edit(PartitionState, "portion", "last.version", "self.checkpoint.version")
    ],
    "dead letters of a replay go together": [
        Edit(
            Recovery,
            "_keep_dead_letters",
            "offsets = None",
            "offsets = entry.offsets",
        )
    ],
    "offsets not before Kafka's": [
        Edit(
            Recovery,
            "_keep_dead_letters",
            "map(max, entry.offsets, committed.offsets)",
            "entry.offsets",
        )
    ],
    "dead letters kept have their offsets": [
        Edit(
            Recovery,
            "_keep_dead_letters",
            "map(max, entry.offsets, committed.offsets)",
            "map(max, state.checkpoint.offsets, committed.offsets)",
        )
    ],
    "clocks compared": [Edit(Clocks, "_check", "if wrong:", "if False:")],
    "newest purchase compared": [Edit(Clocks, "look_at_polled", "if newest:", "if False:")],
    "bound of the wall clock": [
        # Both: the second alone would protect the partition's clock, the first its sweeps.
        Edit(Clocks, "after_reading", "bounded(after_us, self.shown_us)", "after_us"),
        Edit(aggregation, "_clock", "bounded(work.now_us, read.time_us)", "work.now_us"),
    ],
    "bound of a partition's clock": [
        Edit(aggregation, "_clock", "<= latest(read.time_us)", ">= 0")
    ],
    "keys in their partition": [Edit(decoding, "_decoded", "if not kept.all():", "if False:")],
    "content of an event id": [
        Edit(decoding, "fingerprints", "(ids & ~_CONTENT) | (", "(ids & ~_CONTENT) | 0 * (")
    ],
    "seen events": [
        Edit(
            partitions,
            "_arguments",
            "[part for write in commit.ring for part in write]",
            "[]",
        )
    ],
    "causes that counted": [
        Edit(transitions, "last_events", "np.flatnonzero(counted)", "np.arange(len(counted))"),
    ],
    "refusals survive erasures": [
        Edit(aggregate, "_erase_profiles", "reached & (records[name] > 0)", "reached")
    ],
    "the last profile counts": [
        Edit(
            aggregation,
            "apply_profiles",
            "last >= 0",
            '(last >= 0) & (np.append(profiles.updated_at, 0)[last] >= records["profile_updated"])',
        )
    ],
    "a null leaves nothing": [
        Edit(
            aggregation,
            "apply_profiles",
            'replaced["profile_updated"][~is_profiled(replaced)] = NEVER',
            "pass",
        )
    ],
    "place of a change": [Edit(processor, "update_places", "due[changed] = True", "pass")],
    "places in a recovery": [
        Edit(Recovery, "_adopt", 'records["version"] != versions', 'records["version"] < 0')
    ],
    "a null state beside a refusal": [
        Edit(
            processor,
            "decide",
            "known = is_known(after)",
            "known = is_known(after) | is_profiled(after)",
        ),
    ],
    "topics created again": [
        Edit(
            reconciliation.Reconciler,
            "_check_losses",
            "check.check_topics(partition, inputs, checkpoint, anyone_counts)",
            "pass",
        )
    ],
    "a segment again after an erasure": [
        Edit(processor, "decide", "part[nulled & known]", "part[nulled & bare]")
    ],
}


@contextmanager
def mutated(name: str) -> Iterator[None]:
    """Remove a protection."""
    with ExitStack() as stack:
        for edit in MUTATIONS[name]:
            stack.enter_context(patch.object(edit.owner, edit.name, edit.mutated()))
        yield
