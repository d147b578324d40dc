"""Kafka and Redis with authentication: SASL, TLS, and access control lists.

Each also has an open listener, over which a test prepares and inspects it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from livesegments.local_servers import LOOPBACK, free_ports
from tests.servers.certificates import Authority
from tests.servers.kafka_server import KafkaServer
from tests.servers.redis_cluster import RedisCluster
from tests.servers.redis_server import RedisServer

SCRAM = ("SCRAM-SHA-256", "SCRAM-SHA-512")


class SecureKafka(KafkaServer):
    """Apache Kafka that requires a password (SASL_SSL) or a certificate (SSL).

    Clients of the PLAINTEXT listener may do anything; all others need ACLs.

    Parameters
    ----------
    directory, data
        As for `KafkaServer`.
    authority
        Issuer of its certificate and its clients'.
    passwords
        Passwords of the users, for PLAIN and for both kinds of SCRAM. A certificate ``CN=name``
        authenticates the user ``name``.
    """

    def __init__(
        self,
        directory: Path,
        authority: Authority,
        passwords: Mapping[str, str],
        *,
        data: Path | None = None,
    ) -> None:
        users = " ".join(f'user_{name}="{password}"' for name, password in passwords.items())
        security = "org.apache.kafka.common.security"
        plain, scram = (f"{security}.plain.PlainLoginModule", f"{security}.scram.ScramLoginModule")
        sasl = "listener.name.sasl_ssl"
        super().__init__(
            directory,
            {
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "super.users": "User:ANONYMOUS",
                "ssl.keystore.type": "PEM",
                "ssl.keystore.location": str(authority.issue("kafka", address=LOOPBACK).both),
                "ssl.truststore.type": "PEM",
                "ssl.truststore.location": str(authority.cafile),
                "ssl.principal.mapping.rules": "RULE:^CN=([^,]+).*$/$1/",
                "listener.name.ssl.ssl.client.auth": "required",
                "sasl.enabled.mechanisms": ",".join(("PLAIN", *SCRAM)),
                f"{sasl}.plain.sasl.jaas.config": f"{plain} required {users};",
                **{
                    f"{sasl}.{kind.lower()}.sasl.jaas.config": f"{scram} required;"
                    for kind in SCRAM
                },
            },
            data=data,
            listeners=("SASL_SSL", "SSL"),
            format_options=[
                option
                for kind in SCRAM
                for name, password in passwords.items()
                for option in ("--add-scram", f"{kind}=[name={name},password={password}]")
            ],
        )


class SecureRedis(RedisServer):
    """Redis with a TLS port that requires a certificate, and users from an ACL file.

    Parameters
    ----------
    directory
        Folder of its data and log.
    authority
        Issuer of its certificate and its clients'.
    users
        Lines of the ACL file.
    options
        More Redis settings by name.
    """

    def __init__(
        self,
        directory: Path,
        authority: Authority,
        users: Sequence[str],
        options: Mapping[str, str] | None = None,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        [self.tls_port] = free_ports(1)
        acl = directory / "users.acl"
        acl.write_text("".join(f"{line}\n" for line in users))
        certificate = authority.issue("redis", address=LOOPBACK)
        super().__init__(
            directory,
            {
                "tls-port": str(self.tls_port),
                "tls-cert-file": str(certificate.certfile),
                "tls-key-file": str(certificate.keyfile),
                "tls-ca-cert-file": str(authority.cafile),
                "aclfile": str(acl),
                **(options or {}),
            },
        )


class SecureCluster(RedisCluster):
    """A Redis Cluster of `SecureRedis` servers, with TLS between them too.

    Parameters
    ----------
    directory, authority, users
        As for `SecureRedis`.
    """

    def __init__(self, directory: Path, authority: Authority, users: Sequence[str]) -> None:
        def server(folder: Path, options: Mapping[str, str]) -> SecureRedis:
            among = {"tls-cluster": "yes", "tls-replication": "yes"}
            self._secure.append(SecureRedis(folder, authority, users, {**options, **among}))
            return self._secure[-1]

        self._secure: list[SecureRedis] = []
        super().__init__(directory, server=server)

    @property
    def secure_url(self) -> str:
        """The URL of its TLS ports in the service's settings."""
        return f"rediss+cluster://{','.join(f'{LOOPBACK}:{port}' for port in self.tls_ports)}"

    @property
    def tls_ports(self) -> list[int]:
        """TLS ports of all servers, the first masters before their replicas."""
        return [server.tls_port for server in self._secure]
