"""The command as users run it."""

import subprocess
import sys

from tests import processes
from tests.service import Service


def livesegments(service: Service, *arguments: str) -> subprocess.CompletedProcess[str]:
    return processes.run(
        [sys.executable, "-m", "livesegments.cli", *arguments],
        env=service.full_environment(),
        timeout=120,
    )
