"""Health check of a deployment: a finding for each check, with a fix for each problem."""

from livesegments.operations.doctor.finding import Finding
from livesegments.operations.doctor.run import examine

__all__ = ["Finding", "examine"]
