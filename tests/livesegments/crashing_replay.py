"""``livesegments dead-letters replay`` that kills itself: ``python -m ... POINT CALL``."""

import sys

from livesegments.cli import app
from tests.faults.crashing_worker import kill_at

if __name__ == "__main__":
    kill_at(sys.argv[1], int(sys.argv[2]))
    app(["dead-letters", "replay"])
