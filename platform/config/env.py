"""The environment, read once and checked: nothing else in the project reads it.

Every setting is documented in `.env.example`. A wrong value stops the start with a message that says the mend.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from stack import addresses

ROOT = Path(__file__).resolve().parents[2]

# Provider keys that make a base provider: env name of the key, provider name, provider type, env name of the base URL.
KEYED_PROVIDERS = (
    ("OPENAI_API_KEY", "openai", "openai", "OPENAI_BASE_URL"),
    ("ANTHROPIC_API_KEY", "anthropic", "anthropic", "ANTHROPIC_BASE_URL"),
    ("OPENROUTER_API_KEY", "openrouter", "openrouter", ""),
    ("TOGETHER_API_KEY", "together", "together", ""),
    ("GROQ_API_KEY", "groq", "groq", ""),
    ("DEEPSEEK_API_KEY", "deepseek", "deepseek", ""),
    ("XAI_API_KEY", "xai", "xai", ""),
    ("MISTRAL_API_KEY", "mistral", "mistral", ""),
    ("FIREWORKS_API_KEY", "fireworks", "fireworks", ""),
    ("GEMINI_API_KEY", "google_ai", "google_ai", ""),
    ("AZURE_API_KEY", "azure", "azure", "AZURE_BASE_URL"),
    ("CEREBRAS_API_KEY", "cerebras", "cerebras", ""),
    ("MOONSHOT_API_KEY", "moonshot", "moonshot", ""),
    ("MINIMAX_API_KEY", "minimax", "minimax", ""),
    ("ZAI_API_KEY", "zai", "zai", ""),
    ("BASETEN_API_KEY", "baseten", "baseten", ""),
)
# OpenAI-compatible servers without a key, by their base URL.
KEYLESS_PROVIDERS = (
    ("OLLAMA_BASE_URL", "ollama"),
    ("VLLM_API_BASE", "vllm"),
    ("LMSTUDIO_BASE_URL", "lmstudio"),
    ("LLAMACPP_BASE_URL", "llamacpp"),
    ("SGLANG_API_BASE", "sglang"),
)
# What the others need beside: see _cloud_providers.
CLOUD_VARIABLES = (
    "AZURE_API_VERSION",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_BEARER_TOKEN_BEDROCK",
    "AWS_DEFAULT_REGION",
    "GOOGLE_CLOUD_PROJECT",
    "GOOGLE_CLOUD_LOCATION",
    "GOOGLE_APPLICATION_CREDENTIALS",
)


class Env(BaseSettings):
    model_config = SettingsConfigDict(env_file=ROOT / ".env", env_ignore_empty=True, extra="ignore")

    data_dir: Path = Field(
        default=ROOT / ".data", description="Where the embedded parts and the spool keep their data."
    )
    debug: bool = False
    secret_key: str = ""
    encryption_keys: str = Field(default="", description="Comma list of id:secret; the first encrypts.")
    allowed_hosts: str = "*"
    csrf_trusted_origins: str = ""
    host: str = "127.0.0.1"
    port: int = Field(default=8283, ge=1, le=65535)
    web_server: Literal["uvicorn", "daphne"] = "uvicorn"
    web_threads: int = Field(default=16, ge=1, le=512)
    worker_concurrency: int = Field(default=64, ge=1, le=1024)

    database_url: str = ""
    database_pool_size: int = Field(default=20, ge=1, le=500)
    redis_url: str = ""
    clickhouse_url: str = ""
    clickhouse_console_url: str = ""

    run_lease_s: float = Field(default=15.0, ge=1, le=600, description="A run whose worker is silent so long is taken.")
    approval_expires_s: float = Field(default=0.0, ge=0, description="Denied when nobody answers so long. 0: never.")
    sweep_interval_s: float = Field(default=5.0, ge=1, le=60)
    stream_ttl_s: int = Field(default=3 * 3600, ge=60)
    model_timeout_s: float = Field(default=120.0, ge=1, le=3600)
    model_max_attempts: int = Field(default=3, ge=1, le=10)
    batch_runs: int = Field(default=16, ge=1, le=1000, description="Runs of batches at once, of all organizations.")
    batch_runs_of_one: int = Field(default=4, ge=1, le=1000, description="Of these, an organization's.")
    batch_calls: Literal["vendor", "queued"] = "vendor"
    batch_gather_s: float = Field(default=60.0, ge=1, le=3600, description="A vendor's batch is sent when none joins.")
    tool_loop_limit: int = Field(default=8, ge=0, le=1000, description="Equal tool calls in a row end a run; 0: never.")
    fetch_private_addresses: bool = Field(default=False, description="Images, pages by URL may be of our own network.")
    message_vectors: int = Field(default=256, ge=0, le=10_000, description="Embedded per 10 s for searches; 0: none.")

    telemetry_spool_dir: Path | None = None
    telemetry_spool_max_bytes: int = Field(default=20 * 1024**3, ge=1024**2)
    trace_retention_days: int = Field(default=90, ge=1)
    payload_retention_days: int = Field(default=30, ge=1)
    exports_dir: Path | None = None
    export_days: int = Field(default=7, ge=1)
    trace_content: Literal["full", "masked", "metadata"] = "full"
    trace_analyzer: str = Field(default="", description="presidio, presidio:<model of spaCy>, or a class by its path.")
    provider_trace_backends: str = "clickhouse"
    telemetry_socket: Path = Path("/var/run/telemetry/telemetry.sock")
    otlp_endpoint: str = ""
    otlp_headers: SecretStr = Field(default=SecretStr(""), description="Comma list of name=value, percent-encoded.")
    otlp_content: bool = False

    sandbox_backend: str = Field(default="local", description="local, e2b, modal, or a class by its path.")
    sandbox_allow_unisolated: bool = Field(default=False, description="Run tools where nothing can wall them in.")
    sandbox_timeout_s: float = Field(default=60.0, gt=0, le=3600)
    sandbox_memory_mb: int = Field(default=512, ge=64)
    sandbox_client: bool = Field(default=False, description="Every tool that uses `client` gets one, ungranted.")
    sandbox_api_url: str = Field(default="", description="The web server as workers reach it, by http; empty: here.")
    sandbox_node: str = Field(default="", description="Node 22.13 or newer, for TypeScript tools; empty: looked for.")
    sandbox_pool: int = Field(default=2, ge=0, le=100, description="Processes per server process that wait for a call.")

    e2b_api_key: SecretStr = SecretStr("")
    e2b_template: str = Field(default="base", description="Of the machines of E2B; it has Python 3.10 or newer.")
    modal_token_id: SecretStr = SecretStr("")
    modal_token_secret: SecretStr = SecretStr("")

    exa_api_key: SecretStr = SecretStr("")
    exa_base_url: str = "https://api.exa.ai"
    tavily_api_key: SecretStr = SecretStr("")
    tavily_base_url: str = "https://api.tavily.com"
    brave_api_key: SecretStr = SecretStr("")
    brave_base_url: str = "https://api.search.brave.com"
    searxng_url: str = ""

    mcp_disable_stdio: bool = Field(default=True, description="MCP servers that are commands on this machine: refused.")
    mcp_allowed_hosts: str = Field(default="", description="Private hosts, addresses, networks of MCP servers.")
    mcp_oauth_redirect_url: str = ""
    mcp_connect_timeout_s: float = Field(default=30.0, gt=0, le=600)
    mcp_list_timeout_s: float = Field(default=30.0, gt=0, le=600)
    mcp_execute_timeout_s: float = Field(default=60.0, gt=0, le=3600)

    email_url: str = ""
    email_from: str = "perennial@localhost"
    alert_private_addresses: bool = False
    webhook_private_addresses: bool = False

    provider_allowed_hosts: str = Field(default="", description="Private hosts, addresses, networks of own providers.")
    provider_check_hours: float = Field(default=24.0, ge=0, le=24 * 30, description="0: own keys are never checked.")

    scripted_provider: bool = Field(default=True, description="Offer the scripted provider (demos, tests).")
    local_model_url: str = ""
    local_model_key: str = ""
    local_model_name: str = ""
    local_embedding_dir: str = ""
    default_model: str = ""
    default_embedding: str = ""

    @field_validator(
        *("database_url", "redis_url", "clickhouse_url", "clickhouse_console_url", "otlp_endpoint", "email_url"),
        *("exa_base_url", "tavily_base_url", "brave_base_url", "searxng_url", "sandbox_api_url"),
    )
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        """What cannot even be taken apart; `config.checks` looks at the rest."""
        try:
            _ = urlsplit(url).port
        except ValueError:
            raise ValueError("no address: write ? # / @ : in a password as %3F %23 %2F %40 %3A") from None
        return url


def load() -> Env:
    try:
        env = Env()
    except ValidationError as error:
        problems = "\n".join(f"  {str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors())
        raise SystemExit(f"Wrong settings in the environment or .env:\n{problems}\nSee .env.example.") from None
    _fill_from_stack(env)
    _fill_secrets(env)
    return env


def _fill_from_stack(env: Env) -> None:
    """What `manage.py up` started answers where no URL is given."""
    found = addresses.read(env.data_dir)
    if found is None:
        return
    env.database_url = env.database_url or found.database_url
    env.redis_url = env.redis_url or found.redis_url
    if env.clickhouse_url in ("", found.clickhouse_url):
        env.clickhouse_url = found.clickhouse_url
        env.clickhouse_console_url = env.clickhouse_console_url or found.clickhouse_console_url
    if not env.local_model_url:
        env.local_model_url, env.local_model_key = found.model_base_url, found.model_key
        env.local_model_name = found.model_name
    env.local_embedding_dir = env.local_embedding_dir or found.embedding_dir


def _fill_secrets(env: Env) -> None:
    """Secrets of an installation that sets none are made once and kept beside its data, readable by its owner alone."""
    if env.secret_key and env.encryption_keys:
        return
    path = env.data_dir / "secrets.json"
    if path.exists():
        kept: dict[str, str] = json.loads(path.read_text())
    else:
        kept = {"secret_key": secrets.token_urlsafe(48), "encryption_keys": f"k1:{secrets.token_urlsafe(32)}"}
        env.data_dir.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(kept))
        try:
            os.link(draft, path)
        except FileExistsError:  # another process was first: its secrets count
            kept = json.loads(path.read_text())
        finally:
            draft.unlink()
    env.secret_key = env.secret_key or kept["secret_key"]
    env.encryption_keys = env.encryption_keys or kept["encryption_keys"]


def base_providers(env: Env) -> list[dict[str, Any]]:
    """The providers that the environment gives to every organization: name, provider_type, api_key, base_url."""
    given = {**_dotenv(), **os.environ}
    if not given.get("OPENAI_BASE_URL"):  # as it was called before
        given["OPENAI_BASE_URL"] = given.get("OPENAI_API_BASE", "")
    found = [
        {
            "name": name,
            "provider_type": kind,
            "api_key": given[key],
            "base_url": given.get(url, "") if url else "",
            "api_version": given.get("AZURE_API_VERSION", "") if kind == "azure" else "",
        }
        for key, name, kind, url in KEYED_PROVIDERS
        if given.get(key)
    ]
    found += _cloud_providers(given)
    found += [
        {"name": name, "provider_type": name, "api_key": "", "base_url": given[url]}
        for url, name in KEYLESS_PROVIDERS
        if given.get(url)
    ]
    if env.local_model_url:
        local = {"api_key": env.local_model_key, "base_url": env.local_model_url, "model": env.local_model_name}
        found.append({"name": "local", "provider_type": "llamacpp", **local})
    if env.local_embedding_dir:
        found.append({"name": "minilm", "provider_type": "minilm", "api_key": "", "base_url": env.local_embedding_dir})
    if env.scripted_provider:
        found.append({"name": "scripted", "provider_type": "scripted", "api_key": "", "base_url": ""})
    return found


def _service_account(given: Mapping[str, str | None]) -> str:
    path = given.get("GOOGLE_APPLICATION_CREDENTIALS")
    try:
        return Path(path).read_text() if path else ""
    except OSError as error:
        raise SystemExit(f"GOOGLE_APPLICATION_CREDENTIALS: {path} cannot be read ({error.strerror}).") from None


def _cloud_providers(given: Mapping[str, str | None]) -> list[dict[str, Any]]:
    """Those whose credentials are more than one key: Bedrock and Vertex."""
    found: list[dict[str, Any]] = []
    secret, bearer = given.get("AWS_SECRET_ACCESS_KEY"), given.get("AWS_BEARER_TOKEN_BEDROCK")
    region = given.get("AWS_DEFAULT_REGION")
    if region and (bearer or (secret and given.get("AWS_ACCESS_KEY_ID"))):
        key = {"api_key": bearer} if bearer else {"api_key": secret, "access_key": given["AWS_ACCESS_KEY_ID"]}
        token = given.get("AWS_SESSION_TOKEN")
        headers = {"X-Amz-Security-Token": token} if token and not bearer else {}
        found.append({"name": "bedrock", "provider_type": "bedrock", "region": region, "headers": headers, **key})
    project, place = given.get("GOOGLE_CLOUD_PROJECT"), given.get("GOOGLE_CLOUD_LOCATION")
    if project and place:
        account = {"api_key": _service_account(given), "project": project, "region": place}
        found.append({"name": "google_vertex", "provider_type": "google_vertex", **account})
    return found


def inherited(**more: str) -> dict[str, str]:
    """The environment for a child process: this one's own, and `more` over it."""
    return {**os.environ, **more}


def _dotenv() -> dict[str, str]:
    from dotenv import dotenv_values

    return {k: v for k, v in dotenv_values(ROOT / ".env").items() if v}
