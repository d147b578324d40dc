"""``livesegments dead-letters replay`` that kills itself: ``python -m ... POINT CALL``."""

import sys

from livesegments.cli import app
from tests.faults.crashing_worker import Harm, await_harm

if __name__ == "__main__":
    await_harm(Harm(sys.argv[1], int(sys.argv[2])))
    app(["dead-letters", "replay"])
