"""Wrong settings, found by `manage.py check` and before every command, each with its mend.

No message repeats a value: it may be a secret, or hold one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from agents.sandbox.configured import made, others
from agents.sandbox.remote import RemoteSandbox

SECRET_KEY_LENGTH = 32
ENCRYPTION_SECRET_LENGTH = 16
LOOPBACK = {"127.0.0.1", "localhost", "::1"}
MAKE_ONE = 'python -c "import secrets; print(secrets.token_urlsafe(48))"'
Apps = Sequence[AppConfig] | None


@register
def check_database(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    return _address(
        "DATABASE_URL",
        settings.ENV.database_url,
        ("postgresql", "postgres"),
        "postgresql://user:password@host:5432/perennial",
    )


@register
def check_redis(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    return _address("REDIS_URL", settings.REDIS_URL, ("redis", "rediss"), "redis://:password@host:6379/0")


def _address(name: str, url: str, schemes: tuple[str, ...], form: str) -> list[CheckMessage]:
    if not url:
        hint = f"Give {name}, or start the parts on this machine: manage.py up"
        return [Warning(f"{name} is not set.", hint=hint, id="config.W001")]
    parts = urlsplit(url)
    if parts.scheme in schemes and (parts.hostname or "host=" in parts.query):
        return []
    return [Error(f"{name} cannot be used.", hint=f"It reads {form}", id="config.E001")]


@register
def check_secret_key(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    if len(settings.SECRET_KEY) >= SECRET_KEY_LENGTH:
        return []
    hint = f"Make one: {MAKE_ONE}"
    return [Error(f"SECRET_KEY has less than {SECRET_KEY_LENGTH} characters.", hint=hint, id="config.E002")]


@register
def check_encryption_keys(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    return [
        Error(
            f"ENCRYPTION_KEYS: {problem}.", hint=f"It reads id:secret,id:secret. A secret: {MAKE_ONE}", id="config.E003"
        )
        for problem in _key_problems(settings.ENCRYPTION_KEYS)
    ]


def _key_problems(keys: Sequence[str]) -> Iterator[str]:
    if not keys:
        yield "there is none"
    for place, key in enumerate(keys, start=1):
        key_id, _, secret = key.partition(":")
        if not key_id or not secret:
            yield f"entry {place} is not id:secret"
        elif len(secret) < ENCRYPTION_SECRET_LENGTH:
            yield f"the secret of entry {place} has less than {ENCRYPTION_SECRET_LENGTH} characters"
    ids = Counter(key.partition(":")[0] for key in keys)
    yield from (f"the id of an entry is used {times} times" for times in ids.values() if times > 1)


@register
def check_debug(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """On one's own machine tracebacks harm nobody."""
    if not settings.DEBUG or "*" not in settings.ALLOWED_HOSTS or settings.HOST in LOOPBACK:
        return []
    hint = "Take DEBUG away, or name the hosts that may be asked for: ALLOWED_HOSTS=agents.example.com"
    return [Error("DEBUG shows tracebacks and settings to whoever reaches this server.", hint=hint, id="config.E004")]


@register
def check_base_urls(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    urls = {
        entry["name"]: entry["base_url"]
        for entry in settings.BASE_PROVIDERS
        if entry.get("base_url") and entry["provider_type"] != "minilm"
    }
    hint = "It reads http://host:port/v1"
    return [
        Error(f"The address of the provider “{name}” is no URL.", hint=hint, id="config.E005")
        for name, url in urls.items()
        if not _is_http(url)
    ]


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


@register
def check_defaults(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    handles = {"DEFAULT_MODEL": settings.DEFAULT_MODEL, "DEFAULT_EMBEDDING": settings.DEFAULT_EMBEDDING}
    return [
        Error(
            f"{name} names no model.", hint="It reads provider/model, as GET /v1/models lists them.", id="config.E006"
        )
        for name, handle in handles.items()
        if handle and not all(handle.partition("/"))
    ]


@register
def check_sandbox(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """No vendor is asked: `manage.py doctor` does that."""
    try:
        backends = [made(name) for name in ("", *others())]
    except ImportError:
        hint = "It reads local, e2b, modal, or the dotted path of a class."
        return [Error("SANDBOX_BACKEND names no back end.", hint=hint, id="config.E007")]
    problems = [backend.problem() for backend in backends if isinstance(backend, RemoteSandbox)]
    return [Error(f"Tools cannot run: {what}.", hint=mend, id="config.E008") for what, mend in problems if what]
