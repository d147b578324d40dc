"""Settings files as people write them: taken, or refused with the missing setting's name."""

from pathlib import Path

import pytest

from livesegments.config.clients import redis_client
from livesegments.config.redis_urls import Form, parse
from livesegments.config.settings import SettingsError, load

CASES = Path(__file__).parents[2] / "cases"


def test_a_topic_setting_is_answered_with_the_prefix() -> None:
    with pytest.raises(SettingsError, match=r"PURCHASES_TOPIC is no setting.*TOPIC_PREFIX"):
        load(CASES / "topics-of-another-name.env")


def test_oauth_without_a_client_says_what_is_missing() -> None:
    with pytest.raises(SettingsError, match="OAUTHBEARER_TOKEN_ENDPOINT_URL is missing"):
        load(CASES / "oauth-without-client.env")


def test_msk_needs_no_more_settings() -> None:
    assert load(CASES / "msk-iam.env").kafka_sasl_mechanism == "AWS_MSK_IAM"


def test_sentinels_are_taken() -> None:
    settings = load(CASES / "sentinel.env")
    url = parse(settings.redis_url.get_secret_value())
    assert (url.form, url.service, len(url.servers)) == (Form.SENTINEL, "mymaster", 3)
    redis_client(settings).close()  # connects on first use
