"""Quix Streams, exactly once: rolling features in its state, the nearest of five centroids.

It runs in the bench's own virtual environment.
"""

import math
import os
from datetime import datetime
from typing import Any

from quixstreams import Application, State

TILES, TILE_SECONDS = 30, 3 * 86_400
SCALES = [float(each) for each in os.environ["PEER_SCALES"].split(",")]
FLAT = [float(each) for each in os.environ["PEER_CENTROIDS"].split(",")]
CENTROIDS = list(zip(FLAT[::2], FLAT[1::2], strict=True))


def nearest(purchases: int, spend: int) -> int:
    """Return the centroid nearest to a customer's features."""
    x, y = math.log1p(purchases) * SCALES[0], math.log1p(spend / 100) * SCALES[1]
    distances = [(x - a) ** 2 + (y - b) ** 2 for a, b in CENTROIDS]
    return distances.index(min(distances))


def segment(purchase: dict[str, Any], state: State) -> list[Any] | None:
    """Aggregate a purchase; return a change of the customer's segment, if any."""
    at = datetime.fromisoformat(purchase["occurred_at"])
    tile = int(at.timestamp()) // TILE_SECONDS
    tiles = state.get("tiles", {})
    count, cents = tiles.get(str(tile), (0, 0))
    tiles[str(tile)] = (count + 1, cents + round(purchase["amount"] * 100))
    tiles = {name: each for name, each in tiles.items() if int(name) > tile - TILES}
    state.set("tiles", tiles)
    now = nearest(sum(n for n, _ in tiles.values()), sum(c for _, c in tiles.values()))
    before = state.get("segment", -1)
    if now == before:
        return None
    state.set("segment", now)
    return [purchase["customer_id"], before, now]


def main() -> None:
    """Run until SIGTERM."""
    app = Application(
        broker_address=os.environ["PEER_BOOTSTRAP"],
        consumer_group=os.environ["PEER_GROUP"],
        auto_offset_reset="earliest",
        processing_guarantee="exactly-once",
        commit_interval=1.0,  # nothing is published between commits; 5 by default
        state_dir=os.environ["PEER_STATE"],
        loglevel="WARNING",
    )
    purchases = app.dataframe(app.topic(os.environ["PEER_INPUT"]))
    changes = purchases.apply(segment, stateful=True)
    changes = changes.filter(lambda change: change is not None)
    changes.to_topic(app.topic(os.environ["PEER_OUTPUT"]))
    app.run()


if __name__ == "__main__":
    main()
