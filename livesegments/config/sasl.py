"""SASL mechanisms: options of kafka-python, and further requirements of a mechanism."""

from functools import cache
from typing import Any

from livesegments.config import PREFIX
from livesegments.config.kafka_settings import KafkaSettings
from livesegments.config.oauth import Client, ClientCredentials


def sasl_config(settings: KafkaSettings) -> dict[str, Any]:
    """Return kafka-python's options for the mechanism; none without SASL."""
    mechanism = settings.kafka_sasl_mechanism
    if mechanism is None:
        return {}
    if mechanism == "OAUTHBEARER":
        client = Client(
            settings.kafka_sasl_oauthbearer_token_endpoint_url,
            settings.kafka_sasl_oauthbearer_client_id,
            settings.kafka_sasl_oauthbearer_client_secret.get_secret_value(),
            settings.kafka_sasl_oauthbearer_scope,
        )
        extensions = tuple(settings.oauth_extensions.items())
        options: dict[str, Any] = {"sasl_oauth_token_provider": _provider(client, extensions)}
    elif mechanism == "GSSAPI":
        options = {
            "sasl_kerberos_service_name": settings.kafka_sasl_kerberos_service_name,
            "sasl_kerberos_domain_name": settings.kafka_sasl_kerberos_domain_name or None,
        }
    elif mechanism == "AWS_MSK_IAM":
        options = {}
    else:
        options = {
            "sasl_plain_username": settings.kafka_sasl_username,
            "sasl_plain_password": settings.kafka_sasl_password.get_secret_value(),
        }
    return {"sasl_mechanism": mechanism, **options}


@cache
def _provider(client: Client, extensions: tuple[tuple[str, str], ...]) -> ClientCredentials:
    """Return the provider of a client: one per process, so that all connections share a token."""
    return ClientCredentials(client, dict(extensions))


def lacking(settings: KafkaSettings) -> str | None:
    """Return the requirement that the mechanism lacks on this machine, or None."""
    lacks = {"AWS_MSK_IAM": _aws_lacks, "GSSAPI": _kerberos_lacks}.get(
        settings.kafka_sasl_mechanism or ""
    )
    why = lacks() if lacks else None
    where = f"{PREFIX}KAFKA_SASL_MECHANISM is {settings.kafka_sasl_mechanism}"
    return None if why is None else f"{why} ({where})"


def _aws_lacks() -> str | None:
    try:
        from botocore.exceptions import BotoCoreError
        from botocore.session import Session
    except ImportError:
        return "botocore is not installed: pip install 'livesegments[aws]'"
    session = Session()
    try:
        if session.get_credentials() is None:
            return (
                "there are no AWS credentials: give the process a role, a profile, or"
                " AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )
        if not session.get_config_variable("region"):
            return "the AWS region is not known: set AWS_DEFAULT_REGION"
    except BotoCoreError as error:
        return f"AWS credentials cannot be read: {error}"
    return None


def _kerberos_lacks() -> str | None:
    try:
        import gssapi
    except (ImportError, OSError):
        return "gssapi is not installed: pip install 'livesegments[kerberos]'"
    try:
        gssapi.Credentials(usage="initiate").lifetime  # noqa: B018 - read from the ticket
    except gssapi.exceptions.GSSError as error:
        told = " ".join(str(error).split())
        return f"there is no Kerberos ticket: run kinit, or set KRB5_CLIENT_KTNAME ({told})"
    return None
