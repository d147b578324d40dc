"""Names of the Redis keys. A partition's keys share a hash tag, so that one slot holds them all."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Keys:
    """Key names of one deployment, told apart from others by its consumer group's id."""

    group_id: str

    @property
    def deployment(self) -> str:
        """Hash: what every worker of the deployment must agree on."""
        return f"{self.group_id}:deployment"

    @property
    def refit(self) -> str:
        """String: a fit that a person has asked for, until partition 0's owner takes it."""
        return f"{self.group_id}:refit"

    def trial(self, partition: int) -> str:
        """Nothing for longer than a moment: what a user may do is tried on it."""
        return f"{self.group_id}:{{{partition}}}:trial"

    def progress(self, partition: int) -> str:
        """Hash: who wrote last, how far the inputs are folded, the clock."""
        return f"{self.group_id}:{{{partition}}}:progress"

    def customers(self, partition: int) -> str:
        """Hash: customer id -> record."""
        return f"{self.group_id}:{{{partition}}}:customers"

    def statistics(self, partition: int) -> str:
        """Hash: generation -> statistics; ``swept`` -> the one of all records, 0 for several."""
        return f"{self.group_id}:{{{partition}}}:statistics"

    def outbox(self, partition: int) -> str:
        """Hash: version -> all that it publishes."""
        return f"{self.group_id}:{{{partition}}}:outbox"

    def erasures(self, partition: int) -> str:
        """Hash: keyed hash of a customer id -> what an erasure left to remember."""
        return f"{self.group_id}:{{{partition}}}:erasures"

    def seen(self, partition: int) -> str:
        """String: ring of the 8-byte hashes of the last purchases' ids."""
        return f"{self.group_id}:{{{partition}}}:seen"

    def of_partition(self, partition: int) -> list[str]:
        """Return all keys of a partition, in the order the commit script takes them."""
        return [
            self.progress(partition),
            self.customers(partition),
            self.statistics(partition),
            self.outbox(partition),
            self.erasures(partition),
            self.seen(partition),
        ]
