"""The command as users run it."""

import subprocess
import sys

from tests.service import Service


def livesegments(service: Service, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "livesegments.cli", *arguments],
        env=service.full_environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
