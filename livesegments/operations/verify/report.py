"""Results of the checks, with every fault."""

from dataclasses import asdict, dataclass, field

SHOWN = 20


@dataclass(slots=True)
class Check:
    """One guarantee: the number of cases checked, and those that violate it."""

    name: str
    promise: str
    cases: int = 0
    faults: list[str] = field(default_factory=list)
    note: str = ""
    left_out: list[str] = field(default_factory=list)

    def that(self, holds: bool, fault: str) -> None:
        """Count a case; ``fault`` is the message if the condition is false."""
        self.cases += 1
        if not holds:
            self.faults.append(fault)

    def leave_out(self, where: str, why: str) -> None:
        """Record a case that could not be checked, and the reason."""
        self.left_out.append(f"{where}: {why}")


@dataclass(slots=True)
class Report:
    """All checks of one run."""

    checks: list[Check] = field(default_factory=list)

    def check(self, name: str, promise: str) -> Check:
        """Add a check."""
        self.checks.append(Check(name, promise))
        return self.checks[-1]

    @property
    def faults(self) -> int:
        """Number of faults found."""
        return sum(len(check.faults) for check in self.checks)

    def to_dict(self) -> dict[str, object]:
        """Return plain data for JSON."""
        return {"faults": self.faults, "checks": [asdict(check) for check in self.checks]}

    def lines(self) -> list[str]:
        """Return a text report."""
        lines = []
        for check in self.checks:
            verdict = f"{len(check.faults)} FAULTS" if check.faults else "ok"
            notes = [note for note in (check.note, _and_more(check.left_out)) if note]
            note = f"  ({'; '.join(notes)})" if notes else ""
            lines.append(f"{verdict:>10}  {check.name}: {check.promise}; {check.cases} cases{note}")
            lines += [f"            - {fault}" for fault in check.faults[:SHOWN]]
            if len(check.faults) > SHOWN:
                lines.append(f"            - and {len(check.faults) - SHOWN} more (--json has all)")
        lines.append(f"{self.faults} faults" if self.faults else "all promises hold")
        return lines


def _and_more(left_out: list[str]) -> str:
    """Return the first skipped case and the number of others."""
    if not left_out:
        return ""
    more = f", and in {len(left_out) - 1} more places" if len(left_out) > 1 else ""
    return f"not checked: {left_out[0]}{more}"
