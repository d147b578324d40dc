"""Names of the Redis keys. The keys of a partition share a hash tag, and therefore a slot."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Keys:
    """Key names of one deployment, prefixed with its consumer group id."""

    group_id: str

    @property
    def deployment(self) -> str:
        """Hash: settings that all workers of the deployment must share."""
        return f"{self.group_id}:deployment"

    @property
    def refit(self) -> str:
        """String: a manually requested fit, until partition 0's owner takes it."""
        return f"{self.group_id}:refit"

    def trial(self, partition: int) -> str:
        """Short-lived key for testing the Redis user's permissions."""
        return f"{self.group_id}:{{{partition}}}:trial"

    def progress(self, partition: int) -> str:
        """Hash: last writer, input offsets and the partition's clock."""
        return f"{self.group_id}:{{{partition}}}:progress"

    def customers(self, partition: int) -> str:
        """Hash: customer id -> record."""
        return f"{self.group_id}:{{{partition}}}:customers"

    def statistics(self, partition: int) -> str:
        """Hash: generation -> statistics; ``swept`` -> generation of all records, 0 for several."""
        return f"{self.group_id}:{{{partition}}}:statistics"

    def outbox(self, partition: int) -> str:
        """Hash: version -> outputs of that version."""
        return f"{self.group_id}:{{{partition}}}:outbox"

    def erasures(self, partition: int) -> str:
        """Hash: keyed hash of a customer id -> erasure marker."""
        return f"{self.group_id}:{{{partition}}}:erasures"

    def seen(self, partition: int) -> str:
        """String: ring of the 8-byte hashes of the most recent purchase ids."""
        return f"{self.group_id}:{{{partition}}}:seen"

    def of_partition(self, partition: int) -> list[str]:
        """Return all keys of a partition, in the order of the commit script's KEYS."""
        return [
            self.progress(partition),
            self.customers(partition),
            self.statistics(partition),
            self.outbox(partition),
            self.erasures(partition),
            self.seen(partition),
        ]
