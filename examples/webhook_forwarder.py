"""Forward every customer's segment to a webhook, such as a CRM's.

Needs: pip install kafka-python

One topic holds the states and erasures of a customer in order. The offset is committed after the
webhook has answered 2xx, so some calls are repeated after a crash with the same Idempotency-Key
(the record's ce_id), which lets the webhook skip duplicates. A webhook that does not answer is
retried with increasing backoff. If that fails, this exits with 1; it exits at once for errors that
affect every call, such as a bad token or a redirect. Restart it and it resumes where it was.

WEBHOOK_URL=https://crm/segments KAFKA_BOOTSTRAP_SERVERS=localhost:9092 python webhook_forwarder.py
"""

import json
import os
import sys
import time
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from kafka import KafkaConsumer
from kafka.consumer.fetcher import ConsumerRecord
from kafka.structs import OffsetAndMetadata

TOPIC = "customer-segments.v1"
POLL_MS = 60_000  # maximum: kafka-python may drop a join that a poll does not complete
ATTEMPTS, FIRST_PAUSE = 8, 0.2
RETRIED = {408, 425, 429}  # and 5xx
LEFT_OUT = {400, 409, 410, 413, 422}  # this record will never be accepted


class NoRedirects(HTTPRedirectHandler):
    """A redirect is an error: urllib would follow it without the body."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Follow no redirect."""


def body(record: ConsumerRecord) -> dict[str, Any]:
    """Return the body of the request."""
    about = {
        "customer_id": record.key.decode(),
        "version": int(dict(record.headers)["livesegments-version"]),  # only increases
    }
    if record.value is None:
        return {"type": "customer.erased", **about}
    state = json.loads(record.value)  # unknown fields are ignored
    if state["consent"]["marketing"] is False:  # opted out: send no segment
        return {"type": "customer.opted-out", **about}
    segment = state["segment"] and state["segment"]["id"]
    return {"type": "customer.segment", **about, "segment": segment, "since": state["since"]}


def call(url: str, key: str, document: dict[str, Any]) -> None:
    """Call the webhook until it accepts the record; raise on a permanent error."""
    headers = {"Content-Type": "application/json", "Idempotency-Key": key}
    request = Request(url, json.dumps(document).encode(), headers)
    for attempt in range(ATTEMPTS):
        try:
            with build_opener(NoRedirects).open(request, timeout=10):
                return
        except HTTPError as error:
            if error.code in LEFT_OUT:
                print(f"{key} refused: {error}", file=sys.stderr, flush=True)
                return
            if error.code < 500 and error.code not in RETRIED:
                raise SystemExit(f"{url} refuses every call: {error}") from error
        except (URLError, OSError):
            pass
        time.sleep(FIRST_PAUSE * 2**attempt)
    raise SystemExit(f"{url} does not answer")


def main() -> None:
    """Forward until Ctrl-C."""
    url = os.environ["WEBHOOK_URL"]
    consumer = KafkaConsumer(
        TOPIC,
        bootstrap_servers=os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092"),
        group_id=os.environ.get("GROUP_ID", "webhook"),
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        session_timeout_ms=6_000,  # a crashed instance is replaced after this time
        heartbeat_interval_ms=2_000,
        max_poll_records=50,  # most calls between two polls, or repeated after a crash
    )
    while True:
        for tp, records in consumer.poll(POLL_MS).items():
            for record in records:
                key = dict(record.headers)["ce_id"].decode()
                call(url, key, body(record))
            consumer.commit({tp: OffsetAndMetadata(records[-1].offset + 1, "", -1)})


if __name__ == "__main__":
    main()
