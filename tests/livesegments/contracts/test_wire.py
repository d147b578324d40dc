"""Published records, byte for byte, checked against the published contract."""

import json
from collections import defaultdict
from collections.abc import Iterator

import pytest
from kafka.consumer.fetcher import ConsumerRecord

from livesegments.contracts.dead_letters import parse
from livesegments.contracts.schemas import MESSAGES, Message
from livesegments.contracts.topics import CHANGES, DEAD_LETTERS, INPUTS, OUTPUTS, REPLAYS, STATES
from tests.livesegments.contracts.recording import Topics, examples, headers_of
from tests.livesegments.contracts.schemas import faults_of_headers, faults_of_key, faults_of_value

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]


def by_message(recorded: Topics) -> Iterator[tuple[Message, list[ConsumerRecord]]]:
    for message in MESSAGES:
        if message.topic in (*OUTPUTS, REPLAYS):
            records = recorded[message.topic]
            if message.topic != DEAD_LETTERS:
                records = [each for each in records if (each.value is None) == message.is_null]
            yield message, records


def test_every_record_of_every_output_topic_keeps_its_schema(recorded: Topics) -> None:
    counts, faults = {}, defaultdict(set)
    for message, records in by_message(recorded):
        counts[message.name] = len(records)
        for each in records:
            key = None if each.key is None else each.key.decode()
            found = faults_of_key(message, key) + faults_of_headers(message, headers_of(each))
            if message.model:
                found += faults_of_value(message, json.loads(each.value))
            faults[message.name].update(found)
    assert {name: sorted(found) for name, found in faults.items() if found} == {}
    assert counts.pop("dead-letter-replay") == 1
    assert min(counts.values()) >= 5, counts
    assert counts["segment-change"] > 500


def test_the_run_has_every_kind_of_change(recorded: Topics) -> None:
    changes = [json.loads(each.value) for each in recorded[CHANGES]]
    assert {each["change"] for each in changes} == {"assigned", "reassigned", "unassigned"}
    assert {each["origin"] for each in changes} >= {
        "live",
        "profile",
        "expiry",
        "erasure",
        "backfill",
    }
    assert {True, False} == {"traceparent" in headers_of(each) for each in recorded[CHANGES]}


def test_no_field_is_published_that_the_schema_does_not_tell(recorded: Topics) -> None:
    for message, records in by_message(recorded):
        if message.model:
            told = message.model.json_schema()["properties"].keys()
            for each in records:
                assert json.loads(each.value).keys() == told


def test_a_customer_has_one_partition_number_in_all_topics(recorded: Topics) -> None:
    partitions: dict[bytes, set[int]] = defaultdict(set)
    for topic in (*INPUTS, CHANGES, STATES):
        for each in recorded[topic]:
            if each.key != b"someone else":
                partitions[each.key].add(each.partition)
    assert {len(found) for found in partitions.values()} == {1}


def test_a_dead_letter_has_the_bytes_of_the_record_that_its_headers_name(recorded: Topics) -> None:
    for each in recorded[DEAD_LETTERS]:
        letter = parse(each.headers)
        [original] = [
            record
            for record in recorded[letter.topic]
            if (record.partition, record.offset) == (letter.partition, letter.offset)
        ]
        assert (each.key, each.value) == (original.key, original.value)
        assert letter.original_headers == list(original.headers)
        assert letter.timestamp_ms == original.timestamp


def test_the_published_examples_can_be_recorded_anew(recorded: Topics) -> None:
    assert examples(recorded).keys() == {message.name for message in MESSAGES}
