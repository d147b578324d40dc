"""``livesegments serve`` with surveys of normal priority: on a busy machine others would wait long.

The process of the surveys imports this module too.
"""

from livesegments.analysis.survey import process
from livesegments.cli import app as commands

process.NICENESS = 0


if __name__ == "__main__":
    commands(["serve"])
