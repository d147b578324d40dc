"""Forward everyone's segment to a web hook, such as a CRM's.

Needs: pip install kafka-python

One topic holds states and erasures of a customer in order. The offset is committed once the hook
has answered 2xx, so after a crash it is called again for some: with the same Idempotency-Key (the
record's ce_id), by which it knows what it has seen. A hook that does not answer is called again,
ever slower, and in the end this exits with 1, as it does at once for what is wrong with every call,
such as a token or a redirect: have it started again, it goes on where it was.

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
POLL_MS = 60_000  # at most: kafka-python may forget a join that a poll does not see to its end
ATTEMPTS, FIRST_PAUSE = 8, 0.2
RETRIED = {408, 425, 429}  # and 5xx
LEFT_OUT = {400, 409, 410, 413, 422}  # it will never take this very record


class NoRedirects(HTTPRedirectHandler):
    """A redirect is an error: urllib would follow it without the document."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Follow none."""


def body(record: ConsumerRecord) -> dict[str, Any]:
    """Return what the hook is told."""
    about = {
        "customer_id": record.key.decode(),
        "version": int(dict(record.headers)["livesegments-version"]),  # rises: the highest is now
    }
    if record.value is None:
        return {"type": "customer.erased", **about}
    state = json.loads(record.value)  # unknown fields are ignored
    if state["consent"]["marketing"] is False:  # it must not hold a segment of who said no
        return {"type": "customer.opted-out", **about}
    segment = state["segment"] and state["segment"]["id"]
    return {"type": "customer.segment", **about, "segment": segment, "since": state["since"]}


def call(url: str, key: str, document: dict[str, Any]) -> None:
    """Call the hook until it has answered; raise when it does not."""
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
        session_timeout_ms=6_000,  # one that crashed is replaced so soon
        heartbeat_interval_ms=2_000,
        max_poll_records=50,  # so many calls at most between two polls, and again after a crash
    )
    while True:
        for tp, records in consumer.poll(POLL_MS).items():
            for record in records:
                key = dict(record.headers)["ce_id"].decode()
                call(url, key, body(record))
            consumer.commit({tp: OffsetAndMetadata(records[-1].offset + 1, "", -1)})


if __name__ == "__main__":
    main()
