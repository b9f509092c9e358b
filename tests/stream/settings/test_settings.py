"""Settings: their sources, and one clear line for each invalid one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from model.spec import load_spec
from stream.errors import SettingsError, WorkerError
from stream.settings import Settings, load_settings, settings_in_environment
from stream.worker.app import episode_policy
from stream.worker.transport import faust_settings

TEXTS = ("GROUP", "CLIENT_ID", "INSTANCE_ID", "SPEC", "MODEL", "SASL_USERNAME", "SASL_OAUTH_SCOPE", "WEB_HOST")
TOPICS = ("TOPIC_WINDOWS", "TOPIC_DEAD_LETTERS", "TOPIC_LINE_STATES", "TOPIC_MODELS")
SECONDS = tuple(name.upper() for name in Settings.model_fields if name.endswith("_s"))


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


def test_two_wrong_settings_are_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
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


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        *((name, value, "must not be empty") for name in TEXTS for value in ("", "  ")),
        ("GROUP", "a\x1fb", "control characters"),
        ("GROUP", "a\nb", "control characters"),
        *((name, value, "is not a topic name") for name in TOPICS for value in ("", "..", "a b", "ä", "x" * 250)),
        *((f"SSL_{name}FILE", value, "cannot be read") for name in ("CA", "CERT", "KEY") for value in ("no.pem", ".")),
        ("SSL_CAFILE", "x" * 5000, "cannot be read"),
        *((name, value, "finite") for name in SECONDS for value in ("nan", "inf", "-inf")),
        *((name, "1e9", "less than or equal to") for name in SECONDS),
        ("EPISODE_CONFIRM", "1001", "less than or equal to 1000"),
        ("EPISODE_OF", "1001", "less than or equal to 1000"),
        ("EPISODE_CLEAR", "100001", "less than or equal to 100000"),
        ("BROKER", "a\nb:1", "host:port"),
        ("BROKER", "a b:1", "host:port"),
        ("BROKER", "a:²", "host:port"),
    ],
)
def test_a_value_that_nothing_could_work_with_is_one_line(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(f"FAULTLINE_{name}", value)
    with pytest.raises(SettingsError, match=says) as caught:
        load_settings()
    assert f"FAULTLINE_{name}: " in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("FAULTLINE_BROCKER", "FAULTLINE_BROKER"),
        ("FAULTLINE_TOPIC_WINDOW", "FAULTLINE_TOPIC_WINDOWS"),
        ("faultline_web_prot", "FAULTLINE_WEB_PORT"),
    ],
)
@pytest.mark.parametrize("place", ["environment", ".env"])
def test_a_misspelt_variable_is_an_error_that_names_the_nearest(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, meant: str, place: str
) -> None:
    if place == ".env":
        (tmp_path / ".env").write_text(f"{name}=hunter2\n")
    else:
        monkeypatch.setenv(name, "hunter2")
    with pytest.raises(SettingsError, match=f"{name.upper()}: no such setting; did you mean.*{meant}") as caught:
        load_settings()
    assert "hunter2" not in str(caught.value)


def test_a_variable_like_no_other_has_no_suggestion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAULTLINE_QQQQQQQQQQQQQQQQQQ", "1")
    with pytest.raises(SettingsError, match=r"FAULTLINE_QQQQQQQQQQQQQQQQQQ: no such setting$"):
        load_settings()


@pytest.mark.parametrize(
    "name",
    ["FAULTLINE_TEST_X", "FAULTLINE_FAUST_X", "FAULTLINE_GATE_X", "FAULTLINE_REQUIRE_KAFKA", "FAULTLINE_DATA", "FAULT"],
)
def test_variables_of_others_are_let_be(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "1")
    assert load_settings() == Settings()


def test_a_dotenv_file_that_is_not_utf_8_is_one_line(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"FAULTLINE_GROUP=caf\xe9\n")
    with pytest.raises(SettingsError, match=r"^wrong setting: \.env is not UTF-8 at byte 19: save it as UTF-8$"):
        load_settings()


@pytest.mark.parametrize(
    "same",
    [
        {"topic_windows": "a", "topic_dead_letters": "a"},
        {"topic_line_states": "models"},
        {"topic_faults_prefix": "sensor-", "topic_windows": "sensor-lg"},
    ],
)
def test_two_topics_under_one_name_are_an_error(same: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="both name the topic"):
        load_settings(**same)


ANY_VALUE = st.one_of(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=300),
    st.integers(-(10**12), 10**12).map(str),
    st.floats().map(str),
    st.sampled_from(["true", "earliest", "json", "SSL", "gzip"]),
)


@hypothesis_settings(max_examples=300)
@given(st.dictionaries(st.sampled_from(sorted(Settings.model_fields)), ANY_VALUE, min_size=1, max_size=4))
def test_whatever_the_variables_say_is_used_or_refused_in_one_line(values: dict[str, str]) -> None:
    spec = load_spec("line")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(f"FAULTLINE_{name.upper()}", value)
        try:
            settings = load_settings()
        except SettingsError as error:
            assert len(str(error).splitlines()) == 1  # noqa: PT017 – either outcome is right
            return
    assert all(settings.topic_faults(kind) for kind in spec.fault_types)
    assert faust_settings(settings)["id"]
    try:
        episode_policy(spec, settings)
    except WorkerError as error:
        assert "FAULTLINE_EPISODE_CONFIRM" in str(error)  # noqa: PT017


def test_without_a_schedule_its_parser_is_not_imported() -> None:
    code = "import sys; from stream.settings import load_settings; load_settings(); sys.exit('croniter' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
