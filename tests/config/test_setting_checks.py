"""`manage.py check`: a wrong setting is named with its mend, and never repeated."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks

from config.env import Env

SECRET = "0123456789abcdef"


def found(settings: Any, **changes: Any) -> list[CheckMessage]:
    """What is said of a sound installation with these changes; a setting of `Env` is named in lower case."""
    sound = {"ENCRYPTION_KEYS": [f"k1:{SECRET}"], "SECRET_KEY": "s" * 50, "REDIS_URL": "redis://h/0"}
    for name, value in {**sound, **changes}.items():
        if name.isupper():
            setattr(settings, name, value)
    urls = {name: value for name, value in changes.items() if name.islower()}
    settings.ENV = Env(**{"database_url": "postgresql://u:p@h/d", **urls})
    return [message for message in run_checks() if message.id.startswith("config.")]


def test_a_sound_installation_has_nothing_to_mend(settings: Any) -> None:
    assert found(settings) == []


@pytest.mark.parametrize(
    ("changes", "said", "mend"),
    [
        ({"database_url": "mysql://u:p4ssw0rd@h/d"}, "DATABASE_URL", "postgresql://"),
        ({"database_url": "perennial"}, "DATABASE_URL", "postgresql://"),
        ({"database_url": "postgresql:///perennial"}, "DATABASE_URL", "postgresql://"),
        ({"REDIS_URL": "localhost:6379"}, "REDIS_URL", "redis://"),
        ({"REDIS_URL": "redis:///0"}, "REDIS_URL", "redis://"),
        ({"SECRET_KEY": "p4ssw0rd"}, "SECRET_KEY", "token_urlsafe"),
        ({"ENCRYPTION_KEYS": []}, "there is none", "id:secret"),
        ({"ENCRYPTION_KEYS": ["p4ssw0rd-without-an-id"]}, "entry 1 is not id:secret", "id:secret"),
        ({"ENCRYPTION_KEYS": [f":{SECRET}"]}, "entry 1 is not id:secret", "id:secret"),
        ({"ENCRYPTION_KEYS": [f"k1:{SECRET}", "k2:p4ssw0rd"]}, "entry 2 has less than 16", "token_urlsafe"),
        ({"ENCRYPTION_KEYS": [f"k1:{SECRET}", f"k1:{SECRET}x"]}, "used 2 times", "id:secret"),
        ({"DEBUG": True, "HOST": "0.0.0.0"}, "DEBUG", "ALLOWED_HOSTS="),
        ({"DEFAULT_MODEL": "gpt-5.2"}, "DEFAULT_MODEL", "provider/model"),
        ({"DEFAULT_EMBEDDING": "openai/"}, "DEFAULT_EMBEDDING", "provider/model"),
        ({"SANDBOX_BACKEND": "docker"}, "SANDBOX_BACKEND", "local, e2b, modal"),
        ({"SANDBOX_BACKEND": "e2b"}, "the package e2b is not installed", "requirements-e2b.txt"),
        ({"MODAL_TOKEN_ID": "p4ssw0rd", "MODAL_TOKEN_SECRET": "p4ssw0rd"}, "modal", "requirements-modal.txt"),
    ],
)
def test_a_wrong_setting_stops_the_start_and_says_the_mend(
    settings: Any, changes: dict[str, Any], said: str, mend: str
) -> None:
    (message,) = found(settings, **changes)
    assert message.is_serious()
    assert said in message.msg
    assert mend in str(message.hint)
    assert "p4ssw0rd" not in f"{message}"


@pytest.mark.parametrize("url", ["localhost:11434", "ftp://h/v1", "http:///v1", "http://[h/v1"])
def test_the_address_of_a_provider_is_a_url(settings: Any, url: str) -> None:
    (message,) = found(settings, BASE_PROVIDERS=[{"name": "ollama", "provider_type": "ollama", "base_url": url}])
    assert message.is_serious()
    assert "ollama" in message.msg


@pytest.mark.parametrize(
    "changes",
    [
        {"database_url": "postgresql://u:p@/d?host=/run/postgresql"},
        {"database_url": "postgres://u:p@h:5433/d?sslmode=require"},
        {"REDIS_URL": "rediss://:p@h:6380/1"},
        {"DEBUG": True, "HOST": "127.0.0.1"},
        {"DEBUG": True, "HOST": "0.0.0.0", "ALLOWED_HOSTS": ["agents.example.com"]},
        {"DEFAULT_MODEL": "openrouter/meta-llama/llama-4"},
        {"BASE_PROVIDERS": [{"name": "minilm", "provider_type": "minilm", "base_url": "/models/minilm"}]},
    ],
)
def test_what_is_unusual_but_right_passes(settings: Any, changes: dict[str, Any]) -> None:
    assert found(settings, **changes) == []


def test_parts_that_are_not_set_are_a_warning_since_up_starts_them(settings: Any) -> None:
    messages = found(settings, database_url="", REDIS_URL="")
    assert [message.is_serious() for message in messages] == [False, False]
    assert all("manage.py up" in str(message.hint) for message in messages)


def test_the_routes_give_no_cause_for_a_warning() -> None:
    assert run_checks(tags=["urls"]) == []
