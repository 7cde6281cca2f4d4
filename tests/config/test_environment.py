"""The environment as the settings read it: what is refused at once, what is filled in, which providers it makes."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from config import env
from providers.catalog import presets

PLATFORM = Path(env.__file__).parents[1]


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An environment without any setting of ours, and a data directory of its own."""
    names = {name.upper() for name in env.Env.model_fields}
    names |= {name for key, _, _, url in env.KEYED_PROVIDERS for name in (key, url) if name}
    for name in names | {url for url, _ in env.KEYLESS_PROVIDERS}:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setitem(env.Env.model_config, "env_file", None)
    monkeypatch.setattr(env, "ROOT", tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PORT", "99999", "PORT"),
        ("DEBUG", "perhaps", "DEBUG"),
        ("WEB_SERVER", "gunicorn", "'uvicorn' or 'daphne'"),
        ("RUN_LEASE_S", "0", "RUN_LEASE_S"),
        ("DATABASE_URL", "postgresql://u:p4ss#w0rd@h/d", "%23"),
        ("REDIS_URL", "redis://:p4ss/w0rd@h/0", "%2F"),
    ],
)
def test_a_setting_that_cannot_be_read_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as stopped:
        env.load()
    assert name in str(stopped.value)
    assert said in str(stopped.value)
    assert "p4ss" not in str(stopped.value)


def test_an_empty_setting_is_one_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "")
    assert env.load().port == 8283


def test_secrets_that_are_not_given_are_made_once_for_their_owner_alone() -> None:
    first, second = env.load(), env.load()
    assert len(first.secret_key) >= 50
    assert (first.secret_key, first.encryption_keys) == (second.secret_key, second.encryption_keys)
    kept = first.data_dir / "secrets.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert set(json.loads(kept.read_text())) == {"secret_key", "encryption_keys"}


def test_secrets_that_are_given_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "s" * 50)
    monkeypatch.setenv("ENCRYPTION_KEYS", "k1:0123456789abcdef")
    loaded = env.load()
    assert (loaded.secret_key, loaded.encryption_keys) == ("s" * 50, "k1:0123456789abcdef")
    assert not loaded.data_dir.exists()


def test_a_key_in_the_environment_makes_a_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [entry["name"] for entry in env.base_providers(env.Env())] == ["scripted"]
    monkeypatch.setenv("GEMINI_API_KEY", "g")
    monkeypatch.setenv("OLLAMA_BASE_URL", "http://h:11434/v1")
    made = {entry["name"]: entry for entry in env.base_providers(env.Env())}
    assert list(made) == ["google_ai", "ollama", "scripted"]
    assert made["google_ai"]["api_key"] == "g"
    assert made["ollama"]["base_url"] == "http://h:11434/v1"


def test_the_file_dot_env_makes_providers_too_and_the_environment_wins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("OPENAI_API_KEY=from the file\nXAI_API_KEY=from the file\n")
    monkeypatch.setenv("OPENAI_API_KEY", "from the environment")
    made = {entry["name"]: entry["api_key"] for entry in env.base_providers(env.Env())}
    assert made == {"openai": "from the environment", "xai": "from the file", "scripted": ""}


def test_clouds_are_made_of_all_that_their_credentials_need(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    key = tmp_path / "account.json"
    key.write_text('{"type": "service_account"}')
    given = {
        "AWS_ACCESS_KEY_ID": "AKIA1",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_SESSION_TOKEN": "token",
        "GOOGLE_CLOUD_PROJECT": "ours",
        "GOOGLE_APPLICATION_CREDENTIALS": str(key),
        "AZURE_API_KEY": "azure",
        "AZURE_BASE_URL": "https://ours.openai.azure.com",
        "AZURE_API_VERSION": "2024-10-21",
        "OPENAI_API_KEY": "openai",
        "OPENAI_API_BASE": "https://proxy.example",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    made = {entry["name"]: entry for entry in env.base_providers(env.Env())}
    assert made.keys() == {"openai", "azure", "scripted"}  # neither has its place yet
    assert (made["azure"]["api_version"], made["openai"]["base_url"]) == ("2024-10-21", "https://proxy.example")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("GOOGLE_CLOUD_LOCATION", "global")
    made = {entry["name"]: entry for entry in env.base_providers(env.Env())}
    bedrock, vertex = made["bedrock"], made["google_vertex"]
    assert (bedrock["access_key"], bedrock["api_key"], bedrock["region"]) == ("AKIA1", "secret", "eu-central-1")
    assert bedrock["headers"] == {"X-Amz-Security-Token": "token"}
    assert (vertex["project"], vertex["region"], vertex["api_key"]) == ("ours", "global", key.read_text())
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "bearer")
    made = {entry["name"]: entry for entry in env.base_providers(env.Env())}
    assert (made["bedrock"]["api_key"], "access_key" in made["bedrock"]) == ("bearer", False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "gone.json"))
    with pytest.raises(SystemExit, match=r"gone\.json cannot be read"):
        env.base_providers(env.Env())


def test_what_an_error_tells_people_to_set_is_read() -> None:
    """Messages about a missing provider name these."""
    read = {name for key, _, _, url in env.KEYED_PROVIDERS for name in (key, url) if name}
    read |= {url for url, _ in env.KEYLESS_PROVIDERS} | set(env.CLOUD_VARIABLES)
    named = {name for preset in presets().values() for name in (preset.key_env, preset.url_env) if name}
    assert named <= read


def test_providers_of_the_environment_are_of_known_types() -> None:
    assert {kind for _, _, kind, _ in env.KEYED_PROVIDERS} | {name for _, name in env.KEYLESS_PROVIDERS} <= set(
        presets()
    )


@pytest.mark.parametrize(
    ("origins", "secure"), [("", False), ("http://h", False), ("https://h", True), ("https://h,http://h", False)]
)
def test_cookies_travel_by_https_alone_where_browsers_do(tmp_path: Path, origins: str, secure: bool) -> None:
    said = subprocess.run(
        [
            sys.executable,
            "-c",
            "from config import settings as s; print(s.SESSION_COOKIE_SECURE, s.CSRF_COOKIE_SECURE)",
        ],
        env={"PYTHONPATH": str(PLATFORM), "DATA_DIR": str(tmp_path), "CSRF_TRUSTED_ORIGINS": origins},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.split() == [str(secure)] * 2
