"""``livesegments ingest`` that kills itself: ``python -m ... SOURCES.toml POINT CALL``."""

import sys
from functools import partial

from livesegments.cli import app as commands
from livesegments.ingest import app
from livesegments.ingest.query import Query
from livesegments.ingest.transform import Transform
from livesegments.producers.publishing_process import PublishingProcess
from tests.faults.crashing_worker import POINTS as OF_PUBLISHER
from tests.faults.crashing_worker import Harm, await_harm, publish_until

OF_QUERY = {
    "before the query": (Query, "run", "before"),
    "after the query": (Query, "run", "after"),
    "after the transform": (Transform, "run", "after"),
}
POINTS = (
    "before the query",
    "after the query",
    "after the transform",
    "transaction begun",
    "records sent",
    "offsets sent",
    "transaction committed",
)


if __name__ == "__main__":
    harm = Harm(sys.argv[2], int(sys.argv[3]))
    if harm.point in OF_PUBLISHER:
        app.PublishingProcess = partial(  # type: ignore[assignment, attr-defined]
            PublishingProcess, target=partial(publish_until, harm)
        )
    else:
        await_harm(harm, OF_QUERY)
    commands(["ingest", sys.argv[1]])
