"""A deployment whose servers require authentication, with the rights of docs/security.md."""

import hashlib
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    KafkaAdminClient,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
)

from livesegments.local_servers import LOOPBACK
from tests.servers.certificates import Authority, Certificate
from tests.servers.secure import SecureKafka, SecureRedis

ROLES = ("worker", "producer", "ingest", "subscriber", "auditor", "operator")
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "security.md"
_RESOURCES = {
    "--topic": ResourceType.TOPIC,
    "--group": ResourceType.GROUP,
    "--transactional-id": ResourceType.TRANSACTIONAL_ID,
}


def password_of(role: str) -> str:
    """Return a role's password, the same for Kafka and Redis."""
    return f"{role}'s hush"


def documented_acls() -> list[ACL]:
    """Return the ACLs that the document's commands create."""
    text = DOCUMENT.read_text()
    variables: dict[str, str] = {}
    for name, value in re.findall(r'^    (\w+)="(.*)"$', text, re.MULTILINE):
        variables[name] = value.replace("$outputs", variables.get("outputs", ""))
    acls = []
    for line in re.findall(r"^    acl (--.*)$", text, re.MULTILINE):
        for name, value in variables.items():
            line = line.replace(f"${name}", value)
        acls += _acls(shlex.split(line))
    return acls


def _acls(arguments: Sequence[str]) -> list[ACL]:
    options = list(zip(arguments[::2], arguments[1::2], strict=True))
    [principal] = [value for name, value in options if name == "--allow-principal"]
    prefixed = ("--resource-pattern-type", "prefixed") in options
    kind = ACLResourcePatternType.PREFIXED if prefixed else ACLResourcePatternType.LITERAL
    return [
        ACL(
            principal,
            "*",
            ACLOperation[re.sub(r"(?<=[a-z])(?=[A-Z])", "_", operation).upper()],
            ACLPermissionType.ALLOW,
            ResourcePattern(_RESOURCES[resource], name, kind),
        )
        for option, operation in options
        if option == "--operation"
        for resource, name in options
        if resource in _RESOURCES
    ]


def documented_redis_users() -> list[str]:
    """Return the document's lines of an ACL file, with passwords."""
    lines: list[str] = re.findall(r"^    (user \w+ on .*)$", DOCUMENT.read_text(), re.MULTILINE)
    filled = []
    for line in lines:
        role = line.split()[1]
        hashed = hashlib.sha256(password_of(role).encode()).hexdigest()
        filled.append(re.sub(r">\w+_PASSWORD", f"#{hashed}", line))
    return filled


@dataclass(frozen=True, slots=True)
class Secured:
    """The servers and the authority that issued their certificates."""

    kafka: SecureKafka
    redis: SecureRedis
    authority: Authority
    stranger: Authority
    """An authority that no server trusts."""
    certificate: Certificate
    """Certificate of the user ``worker``."""
    foreign: Certificate
    """Certificate with the same name, issued by the stranger."""

    def sasl(self, role: str, mechanism: str = "SCRAM-SHA-512") -> dict[str, str]:
        """Return the settings with which a role logs in to Kafka by password."""
        return {
            "KAFKA_BOOTSTRAP_SERVERS": f"{LOOPBACK}:{self.kafka.ports['SASL_SSL']}",
            "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "KAFKA_SASL_MECHANISM": mechanism,
            "KAFKA_SASL_USERNAME": role,
            "KAFKA_SASL_PASSWORD": password_of(role),
            "KAFKA_SSL_CAFILE": str(self.authority.cafile),
        }

    def mutual_tls(self) -> dict[str, str]:
        """Return the settings with which ``worker`` logs in to Kafka by certificate."""
        return {
            "KAFKA_BOOTSTRAP_SERVERS": f"{LOOPBACK}:{self.kafka.ports['SSL']}",
            "KAFKA_SECURITY_PROTOCOL": "SSL",
            "KAFKA_SSL_CAFILE": str(self.authority.cafile),
            "KAFKA_SSL_CERTFILE": str(self.certificate.certfile),
            "KAFKA_SSL_KEYFILE": str(self.certificate.keyfile),
        }

    def store(self, role: str) -> dict[str, str]:
        """Return the settings with which a role logs in to Redis."""
        return {
            "REDIS_URL": f"rediss://{LOOPBACK}:{self.redis.tls_port}/0",
            "REDIS_USERNAME": role,
            "REDIS_PASSWORD": password_of(role),
            "REDIS_SSL_CAFILE": str(self.authority.cafile),
            "REDIS_SSL_CERTFILE": str(self.certificate.both),
        }

    def allow(self, acls: Iterable[ACL]) -> None:
        """Replace Kafka's ACLs by these; ACLs in both are never absent."""
        wanted = set(acls)
        admin = KafkaAdminClient(bootstrap_servers=self.kafka.bootstrap)
        admin.create_acls(list(wanted))
        found, _ = admin.describe_acls(_filter(None))
        surplus = set(found) - wanted
        admin.delete_acls([_filter(acl) for acl in surplus])
        admin.close()


def _filter(acl: ACL | None) -> ACLFilter:
    """Return a filter that matches one entry, or all of them."""
    if acl is None:
        anything = ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY)
        return ACLFilter(None, None, ACLOperation.ANY, ACLPermissionType.ANY, anything)
    of = acl.resource_pattern
    pattern = ResourcePatternFilter(of.resource_type, of.resource_name, of.pattern_type)
    return ACLFilter(acl.principal, acl.host, acl.operation, acl.permission_type, pattern)


def lower(settings: Mapping[str, str]) -> dict[str, Any]:
    """Return settings as `livesegments.config.settings.load` expects them."""
    return {name.lower(): value for name, value in settings.items()}
