"""Customers of the served deployments."""

from tests.service import Event, profile

PEOPLE = [f"p{i:02d}" for i in range(70)]


def profiles(customers: list[str]) -> list[Event]:
    """Return a profile of each; every third consents to marketing."""
    return [
        profile(
            name,
            "2024-01-01T00:00:00Z",
            age=20 + i % 60,
            income=10_000 + 1_500 * (i % 70),
            consent={"marketing": [True, False, None][i % 3], "profiling": True},
        )
        for i, name in enumerate(customers)
    ]
