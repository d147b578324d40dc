"""Behaviour of kafka-python that the worker relies on: an upgrade that changes it fails here."""

import gc
import inspect
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from kafka import ConsumerRebalanceListener, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import (
    CommitFailedError,
    KafkaError,
    KafkaTimeoutError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    OutOfOrderSequenceNumberError,
    ProducerFencedError,
)
from kafka.structs import ConsumerGroupMetadata, MemberState, OffsetAndMetadata

from livesegments.consumers.polling import RebalanceListener
from livesegments.contracts.topics import CHANGES, INPUTS, PURCHASES
from tests.servers import KafkaServer
from tests.service import PARTITIONS

pytestmark = pytest.mark.servers

GROUP = "publishers"
EVERYTHING = 3 * PARTITIONS
PLACE = TopicPartition(CHANGES, 0)
OFFSETS = {TopicPartition(PURCHASES, 0): OffsetAndMetadata(1, "m", -1)}

Config = dict[str, Any]


@pytest.fixture
def config(fresh_kafka: KafkaServer) -> Config:
    return {"bootstrap_servers": fresh_kafka.bootstrap}


@contextmanager
def joined(config: Config, **more: Any) -> Iterator[KafkaConsumer]:
    """Run a consumer that has joined the group."""
    listener = more.pop("listener", None)
    # A member left by an earlier test expires with its session; then all partitions are assigned.
    session = {"session_timeout_ms": 3_000, "heartbeat_interval_ms": 500}
    consumer = KafkaConsumer(
        **{**config, **session, **more},
        group_id=GROUP,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="none",
    )
    consumer.subscribe(list(INPUTS), listener=listener or RebalanceListener(consumer))
    while consumer.group_metadata().generation_id < 0 or len(consumer.assignment()) < EVERYTHING:
        with suppress(NoOffsetForPartitionError):
            consumer.poll(100)
    yield consumer
    consumer.close(autocommit=False)


@pytest.fixture
def member(config: Config) -> Iterator[KafkaConsumer]:
    with joined(config) as consumer:
        yield consumer


@contextmanager
def transactional(config: Config, **more: Any) -> Iterator[KafkaProducer]:
    """Run a transactional producer, always with the same id."""
    producer = KafkaProducer(
        **config, **more, transactional_id="trap", transaction_timeout_ms=10_000
    )
    producer.init_transactions()
    yield producer
    with suppress(KafkaError):
        producer.close(timeout=1)


def stale(member: KafkaConsumer) -> ConsumerGroupMetadata:
    now = member.group_metadata()
    return ConsumerGroupMetadata(GROUP, now.generation_id - 1, now.member_id)


def end(config: Config, isolation_level: str) -> int:
    consumer = KafkaConsumer(**config, isolation_level=isolation_level, enable_auto_commit=False)
    found = int(consumer.end_offsets([PLACE])[PLACE])
    consumer.close()
    return found


class TestTransactions:
    """Reasons why a producer is never reused after an error, and every future is checked."""

    def test_offsets_that_were_refused_go_out_with_the_next_transaction(
        self, config: Config, member: KafkaConsumer
    ) -> None:
        with transactional(config) as producer:
            producer.begin_transaction()
            with pytest.raises(CommitFailedError):
                producer.send_offsets_to_transaction(OFFSETS, stale(member))
            producer.abort_transaction()
            producer.begin_transaction()
            others = {TopicPartition(PURCHASES, 1): OffsetAndMetadata(2, "m", -1)}
            producer.send_offsets_to_transaction(others, member.group_metadata())
            producer.commit_transaction()
            assert member.committed(TopicPartition(PURCHASES, 0)) == 1

    def test_a_record_that_fails_by_time_fails_neither_flush_nor_transaction(
        self, config: Config, fresh_kafka: KafkaServer
    ) -> None:
        with transactional(config, delivery_timeout_ms=2_500, request_timeout_ms=2_000) as producer:
            producer.begin_transaction()
            producer.send(CHANGES, b"x", partition=0).get(30)
            fresh_kafka.pause()
            future = producer.send(CHANGES, b"y", partition=0)
            producer.flush(5)
            fresh_kafka.resume()
            assert isinstance(future.exception, KafkaTimeoutError)
            producer.commit_transaction()

    def test_a_commit_reports_success_though_the_epoch_was_bumped_and_a_record_is_lost(
        self, config: Config
    ) -> None:
        with transactional(config) as producer:
            producer.begin_transaction()
            producer.send(CHANGES, b"x", partition=0).get(30)
            producer.commit_transaction()
            producer.begin_transaction()
            producer._transaction_manager.set_sequence_number(PLACE, 55)
            future = producer.send(CHANGES, b"x", partition=0)
            producer.commit_transaction()
            assert isinstance(future.exception, OutOfOrderSequenceNumberError)

    def test_what_commits_aborts_or_sends_offsets_takes_no_timeout(self) -> None:
        for method in (
            KafkaProducer.commit_transaction,
            KafkaProducer.abort_transaction,
            KafkaProducer.send_offsets_to_transaction,
        ):
            assert not [n for n in inspect.signature(method).parameters if "timeout" in n]

    def test_a_commit_whose_answer_is_late_raises_though_it_commits(
        self, config: Config, fresh_kafka: KafkaServer
    ) -> None:
        with transactional(config, request_timeout_ms=700) as producer:
            producer.begin_transaction()
            producer.send(CHANGES, b"x", partition=0).get(30)
            fresh_kafka.pause()
            with pytest.raises(KafkaError):
                producer.commit_transaction()
            fresh_kafka.resume()
            deadline = time.monotonic() + 8
            while end(config, "read_committed") == 0 and time.monotonic() < deadline:
                time.sleep(0.1)
            assert end(config, "read_committed") == 2

    def test_the_first_failing_call_names_the_cause_and_later_ones_do_not(
        self, config: Config, member: KafkaConsumer
    ) -> None:
        with transactional(config) as producer:
            producer.begin_transaction()
            with pytest.raises(CommitFailedError):
                producer.send_offsets_to_transaction(OFFSETS, stale(member))
            with pytest.raises(KafkaError) as later:
                producer.commit_transaction()
            assert type(later.value) is KafkaError
            producer.abort_transaction()

    def test_the_first_send_of_a_fenced_producer_names_the_cause(self, config: Config) -> None:
        with transactional(config) as first, transactional(config):
            first.begin_transaction()
            future = first.send(CHANGES, b"x", partition=0)
            first.flush(5)
            assert isinstance(future.exception, ProducerFencedError)
            with pytest.raises(KafkaError):
                first.commit_transaction()

    def test_close_sends_no_abort(self, config: Config) -> None:
        with transactional(config) as producer:
            producer.begin_transaction()
            producer.send(CHANGES, b"x", partition=0).get(30)
            producer.close(timeout=2)
        assert (end(config, "read_committed"), end(config, "read_uncommitted")) == (0, 1)
        with transactional(config):  # the next producer with the same id ends it
            assert end(config, "read_committed") == end(config, "read_uncommitted") == 2

    def test_markers_leave_gaps_in_the_offsets(self, config: Config) -> None:
        with transactional(config) as producer:
            offsets = []
            for _ in range(2):
                producer.begin_transaction()
                offsets.append(producer.send(CHANGES, b"x", partition=0).get(30).offset)
                producer.commit_transaction()
        assert offsets == [0, 2]
        assert end(config, "read_committed") == 4

    def test_a_batch_that_its_topic_finds_too_large_is_split_and_flush_raises(
        self, config: Config
    ) -> None:
        large = {"batch_size": 4_000_000, "max_request_size": 4_000_000, "linger_ms": 60_000}
        with transactional(config, **large) as producer:
            producer.begin_transaction()
            futures = [producer.send(CHANGES, b"x" * 90_000, partition=0) for _ in range(20)]
            with pytest.raises(KafkaError, match="Future not done"):
                producer.flush(10)
            while not all(future.is_done for future in futures):
                with suppress(KafkaError):  # may find the batch that was split as well
                    producer.flush(10)
            assert all(future.succeeded() for future in futures)
            producer.commit_transaction()


class TestMembership:
    """Reasons why membership is read at every poll, and only a stable one is used."""

    def test_a_membership_without_generation_is_accepted(self, config: Config) -> None:
        with transactional(config) as producer:
            producer.begin_transaction()
            producer.send_offsets_to_transaction(OFFSETS, ConsumerGroupMetadata(GROUP))
            producer.commit_transaction()

    def test_a_stale_generation_is_refused(self, config: Config, member: KafkaConsumer) -> None:
        with transactional(config) as producer:
            producer.begin_transaction()
            with pytest.raises(CommitFailedError):
                producer.send_offsets_to_transaction(OFFSETS, stale(member))
            producer.abort_transaction()

    def test_past_the_poll_interval_there_is_no_generation(self, config: Config) -> None:
        quick = {
            "max_poll_interval_ms": 1_500,
            "session_timeout_ms": 1_000,
            "heartbeat_interval_ms": 200,
        }
        with joined(config, **quick) as consumer:
            deadline = time.monotonic() + 10
            while consumer.group_metadata().generation_id >= 0 and time.monotonic() < deadline:
                time.sleep(0.1)
            membership = consumer.group_metadata()
            assert (membership.generation_id, membership.member_id) == (-1, "")
            assert membership.state is MemberState.UNJOINED

    def test_rebalance_listeners_run_on_another_thread(self, config: Config) -> None:
        threads: list[threading.Thread] = []

        class Listener(ConsumerRebalanceListener):  # type: ignore[misc]
            def on_partitions_revoked(self, _revoked: object) -> None:
                consumer._coordinator.request_rejoin()
                threads.append(threading.current_thread())

            def on_partitions_assigned(self, _assigned: object) -> None:
                threads.append(threading.current_thread())

        with KafkaConsumer(**config, group_id=GROUP, enable_auto_commit=False) as consumer:
            consumer.subscribe([PURCHASES], listener=Listener())
            while not consumer.assignment():
                consumer.poll(100)
            assert threads
            assert threading.current_thread() not in threads

    @pytest.mark.parametrize("ended", [False, True], ids=["as it is", "with ours"])
    def test_a_join_for_new_partitions_is_forgotten_by_a_poll_that_ends_within_it(
        self, config: Config, ended: bool
    ) -> None:
        topic = f"growing-{ended}"
        more = {"group_id": topic, "enable_auto_commit": False, "metadata_max_age_ms": 500}
        with KafkaAdminClient(**config) as admin, KafkaConsumer(**config, **more) as consumer:
            admin.create_topics({topic: {"num_partitions": 1}})
            ours = RebalanceListener(consumer)
            consumer.subscribe([topic], listener=ours if ended else None)
            deadline = time.monotonic() + 20
            while not consumer.assignment() and time.monotonic() < deadline:
                consumer.poll(1_000)
            before = consumer.group_metadata()
            admin.create_partitions({topic: 2})
            time.sleep(2)  # it learns about the partition
            consumer.poll(0)
            time.sleep(1)  # JoinGroup and SyncGroup are answered
            for _ in range(5):
                consumer.poll(200)
            now = consumer.group_metadata()
            assert now.generation_id > before.generation_id
            assert (len(consumer.assignment()), now.state) == (
                (2, MemberState.STABLE) if ended else (1, MemberState.REBALANCING)
            )


class TestGarbage:
    """Reasons why garbage is collected between micro-batches (`producers/gc_policy.py`)."""

    def test_variables_of_who_called_poll_stay_until_garbage_is_collected(
        self, config: Config
    ) -> None:
        class Batch:
            pass

        def one_round() -> weakref.ref[Batch]:
            consumer.poll(50)
            batch = Batch()
            return weakref.ref(batch)

        consumer = KafkaConsumer(**config)
        consumer.assign([TopicPartition(PURCHASES, 0)])
        consumer.seek(TopicPartition(PURCHASES, 0), 0)
        gc.disable()
        try:
            batches = [one_round() for _ in range(5)]
            time.sleep(1)  # until then kafka-python's pending work refers to them
            assert any(batch() is not None for batch in batches)
            gc.collect()
            assert all(batch() is None for batch in batches)
        finally:
            gc.enable()
            consumer.close()


class TestOffsets:
    """Reasons why the consumer is read_committed and never resets offsets."""

    def test_only_a_read_committed_consumer_waits_for_a_pending_transactions_offsets(
        self, config: Config, member: KafkaConsumer
    ) -> None:
        with transactional(config) as producer:
            producer.begin_transaction()
            producer.send_offsets_to_transaction(OFFSETS, member.group_metadata())
            with pytest.raises(KafkaTimeoutError):
                member.committed(TopicPartition(PURCHASES, 0), timeout_ms=1_000)
            hasty = KafkaConsumer(**config, group_id=GROUP, enable_auto_commit=False)
            assert hasty.committed(TopicPartition(PURCHASES, 0), timeout_ms=1_000) is None
            hasty.close(autocommit=False)
            producer.commit_transaction()
            assert member.committed(TopicPartition(PURCHASES, 0)) == 1

    def test_a_question_that_timed_out_answers_the_next_one_for_the_same(
        self, config: Config, fresh_kafka: KafkaServer
    ) -> None:
        tp = TopicPartition(PURCHASES, 0)
        more = {"group_id": "asking", "enable_auto_commit": False}
        with KafkaConsumer(**config, **more) as asking, KafkaConsumer(**config, **more) as moving:
            for consumer in (asking, moving):
                consumer.assign([tp])
            moving.commit({tp: OffsetAndMetadata(1, "", -1)})
            assert asking.committed(tp) == 1
            fresh_kafka.pause()
            with pytest.raises(KafkaTimeoutError):
                asking.committed(tp, timeout_ms=300)
            fresh_kafka.resume()
            time.sleep(1)  # the answer arrives
            moving.commit({tp: OffsetAndMetadata(5, "", -1)})
            assert [asking.committed(tp), asking.committed(tp)] == [1, 5]

    def test_without_a_reset_policy_a_lost_position_is_an_error(self, config: Config) -> None:
        consumer = KafkaConsumer(**config, auto_offset_reset="none", enable_auto_commit=False)
        tp = TopicPartition(PURCHASES, 0)
        consumer.assign([tp])
        consumer.seek(tp, 99)
        with pytest.raises(OffsetOutOfRangeError):
            consumer.poll(5_000)
        consumer.close()

    def test_end_offsets_of_a_read_committed_consumer_stop_at_an_open_transaction(
        self, config: Config
    ) -> None:
        with transactional(config) as producer:
            producer.begin_transaction()
            producer.send(CHANGES, b"x", partition=0).get(30)
            assert [end(config, level) for level in ("read_committed", "read_uncommitted")] == [
                0,
                1,
            ]
            producer.abort_transaction()

    def test_one_unknown_leader_among_known_ones_is_a_key_error(self, config: Config) -> None:
        consumer = KafkaConsumer(**config)
        known, other = TopicPartition(PURCHASES, 0), TopicPartition(CHANGES, 0)
        assert consumer.end_offsets([known]) == {known: 0}
        with pytest.raises(KeyError):
            consumer.end_offsets([known, other])
        consumer.close()

    def test_defaults_that_are_overridden_are_what_they_were(self) -> None:
        overridden = {
            "enable_auto_commit": True,
            "isolation_level": "read_uncommitted",
            "auto_offset_reset": "latest",
            "max_poll_records": 500,
            "allow_auto_create_topics": True,
        }
        found = {name: KafkaConsumer.DEFAULT_CONFIG[name] for name in overridden}
        assert found == overridden
