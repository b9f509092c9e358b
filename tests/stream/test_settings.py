"""Settings: where they come from, and that a wrong one is one clear line."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream.errors import SettingsError
from stream.settings import Settings, load_settings, settings_in_environment


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in settings_in_environment():
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_every_setting_has_a_default_and_a_description() -> None:
    assert load_settings() == Settings()
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_a_setting_comes_from_the_environment_under_our_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAULTLINE_GROUP", "night-shift")
    monkeypatch.setenv("GROUP", "somebody-else")
    monkeypatch.setenv("BROKER", "elsewhere:1")
    assert (load_settings().group, load_settings().broker) == ("night-shift", "localhost:9092")


def test_a_setting_comes_from_a_dotenv_file_and_the_environment_wins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("FAULTLINE_GROUP=from-file\nFAULTLINE_SPEC=instant\nOTHER=1\n")
    monkeypatch.setenv("FAULTLINE_GROUP", "from-environment")
    assert (load_settings().group, load_settings().spec) == ("from-environment", "instant")


def test_an_override_wins_unless_it_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAULTLINE_GROUP", "from-environment")
    assert load_settings(group="by-option").group == "by-option"
    assert load_settings(group=None).group == "from-environment"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("BROKER", "localhost", "host:port"),
        ("BROKER", "", "host:port"),
        ("BROKER", "a:1,b", "'b' is not host:port"),
        ("BROKER", "a:99999", "host:port"),
        ("BROKER", "a:x", "host:port"),
        ("SECURITY_PROTOCOL", "TLS", "SASL_SSL"),
        ("SASL_MECHANISM", "KERBEROS", "SCRAM-SHA-512"),
        ("BATCH_WINDOWS", "0", "greater than or equal to 1"),
        ("BATCH_WINDOWS", "many", "integer"),
        ("BATCH_DEADLINE_MS", "-1", "greater than or equal to 0"),
        ("WEB_PORT", "70000", "65535"),
        ("OFFSET_RESET", "middle", "earliest"),
        ("COMPRESSION", "rar", "zstd"),
        ("LOG_LEVEL", "loud", "info"),
        ("WINDOW_CLASSES", "perhaps", "boolean"),
        ("REPLICATION_FACTOR", "0", "greater than or equal to 1"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it_and_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(f"FAULTLINE_{name}", value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert f"FAULTLINE_{name}: " in str(caught.value)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_status == 2


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"session_timeout_s": 40.0, "request_timeout_s": 30.0}, "request_timeout_s"),
        ({"heartbeat_interval_s": 10.0}, "heartbeat_interval_s"),
        ({"episode_confirm": 5, "episode_of": 4}, "episode_confirm"),
    ],
)
def test_settings_that_contradict_each_other_are_one_line(changes: dict[str, float], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        load_settings(**changes)


def test_two_wrong_settings_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAULTLINE_WEB_PORT", "x")
    monkeypatch.setenv("FAULTLINE_PARTITIONS", "0")
    with pytest.raises(SettingsError, match=r"FAULTLINE_PARTITIONS.*FAULTLINE_WEB_PORT"):
        load_settings()


SECRETS = ("SASL_PASSWORD", "SASL_OAUTH_CLIENT_SECRET", "SSL_KEY_PASSWORD")


def test_secrets_are_in_no_text_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SECRETS:
        monkeypatch.setenv(f"FAULTLINE_{name}", "hunter2")
    settings = load_settings()
    assert settings.sasl_password is not None
    assert settings.sasl_password.get_secret_value() == "hunter2"
    for text in (str(settings), repr(settings), settings.model_dump_json(), str(settings_in_environment())):
        assert "hunter2" not in text


def test_secrets_are_in_no_message_about_a_wrong_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SECRETS:
        monkeypatch.setenv(f"FAULTLINE_{name}", "hunter2")
    monkeypatch.setenv("FAULTLINE_WEB_PORT", "x")
    with pytest.raises(SettingsError) as caught:
        load_settings(episode_confirm=5, episode_of=4)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_bootstrap_servers_are_cleaned_of_spaces() -> None:
    assert load_settings(broker="a:1, b:2").bootstrap_servers == ["a:1", "b:2"]


def test_settings_do_not_change_after_they_are_loaded() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().group = "other"
