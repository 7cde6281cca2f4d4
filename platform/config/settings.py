"""Django's settings: flat, made from the environment by `config.env`."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from config import env as _env
from console.theme import UNFOLD  # noqa: F401

ENV = _env.load()
BASE_DIR = _env.ROOT
DATA_DIR = ENV.data_dir

SECRET_KEY = ENV.secret_key
ENCRYPTION_KEYS = [key.strip() for key in ENV.encryption_keys.split(",") if key.strip()]
DEBUG = ENV.debug
ALLOWED_HOSTS = [host.strip() for host in ENV.allowed_hosts.split(",")]
CSRF_TRUSTED_ORIGINS = [origin.strip() for origin in ENV.csrf_trusted_origins.split(",") if origin.strip()]
# Where browsers reach the admin by HTTPS alone, its cookies must not travel otherwise.
SESSION_COOKIE_SECURE = bool(CSRF_TRUSTED_ORIGINS) and all(url.startswith("https://") for url in CSRF_TRUSTED_ORIGINS)
CSRF_COOKIE_SECURE = SESSION_COOKIE_SECURE

INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",  # the default one would put its own admin site in the place of ours
    "unfold.contrib.filters",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "channels",
    "ninja",
    "rest_framework",
    "drf_spectacular",
    "config.apps.AdminConfig",
    "core",
    "accounts",
    "console",
    "providers",
    "streams",
    "budgets",
    "telemetry",
    "agents",
    "conversations",
    "config.apps.ConfigConfig",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "servestatic.middleware.ServeStaticMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]


def _database(url: str) -> dict[str, Any]:
    """A database setting from `postgresql://user:password@host:port/name?host=/socket/dir`."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    pool = {"min_size": 1, "max_size": ENV.database_pool_size, "timeout": 20}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")) or "perennial",
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": query.pop("host", None) or unquote(parts.hostname or ""),
        "PORT": str(parts.port or query.pop("port", "") or ""),
        "CONN_MAX_AGE": 0,
        "CONN_HEALTH_CHECKS": False,
        # Statements are bound and prepared by the server: planned once per connection, not at every call.
        "OPTIONS": {"pool": pool, "server_side_binding": True, "prepare_threshold": 3, **query},
    }


DATABASES = {"default": _database(ENV.database_url)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_USER_MODEL = "accounts.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "/admin/login/"
LOGIN_REDIRECT_URL = "/admin/"

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True
STATIC_URL = "/static/"
SERVESTATIC_USE_FINDERS = True
SERVESTATIC_AUTOREFRESH = DEBUG
APPEND_SLASH = True
DATA_UPLOAD_MAX_MEMORY_SIZE = 64 * 1024**2  # images travel inline, as base64

REDIS_URL = ENV.redis_url
CHANNEL_LAYERS = {
    "default": {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": [REDIS_URL]}}
}
CLICKHOUSE_URL = ENV.clickhouse_url
CLICKHOUSE_CONSOLE_URL = ENV.clickhouse_console_url

CELERY_BROKER_URL = REDIS_URL
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ALWAYS_EAGER = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_DEFAULT_QUEUE = "runs"

RUN_LEASE_S = ENV.run_lease_s
BATCH_RUNS, BATCH_RUNS_OF_ONE = ENV.batch_runs, ENV.batch_runs_of_one
BATCH_CALLS, BATCH_GATHER_S = ENV.batch_calls, ENV.batch_gather_s
FETCH_PRIVATE_ADDRESSES = ENV.fetch_private_addresses
MESSAGE_VECTORS = ENV.message_vectors
SWEEP_INTERVAL_S = ENV.sweep_interval_s
APPROVAL_EXPIRES_S = ENV.approval_expires_s
STREAM_TTL_S = ENV.stream_ttl_s
MODEL_TIMEOUT_S = ENV.model_timeout_s
MODEL_MAX_ATTEMPTS = ENV.model_max_attempts
TOOL_LOOP_LIMIT = ENV.tool_loop_limit

TELEMETRY_SPOOL_DIR = ENV.telemetry_spool_dir or DATA_DIR / "spool"
TELEMETRY_SPOOL_MAX_BYTES = ENV.telemetry_spool_max_bytes
TRACE_RETENTION_DAYS = ENV.trace_retention_days
PAYLOAD_RETENTION_DAYS = ENV.payload_retention_days
SANDBOX_DIR = DATA_DIR / "sandbox"
SANDBOX_BACKEND = ENV.sandbox_backend
SANDBOX_ALLOW_UNISOLATED = ENV.sandbox_allow_unisolated
SANDBOX_TIMEOUT_S = ENV.sandbox_timeout_s
SANDBOX_MEMORY_MB = ENV.sandbox_memory_mb
SANDBOX_CLIENT = ENV.sandbox_client
SANDBOX_API_URL = ENV.sandbox_api_url or f"http://{'127.0.0.1' if ENV.host == '0.0.0.0' else ENV.host}:{ENV.port}"
SANDBOX_NODE = ENV.sandbox_node
SANDBOX_POOL = ENV.sandbox_pool
E2B_API_KEY = ENV.e2b_api_key.get_secret_value()
E2B_TEMPLATE = ENV.e2b_template
MODAL_TOKEN_ID = ENV.modal_token_id.get_secret_value()
MODAL_TOKEN_SECRET = ENV.modal_token_secret.get_secret_value()
SEARCH_KEYS = {
    "EXA_API_KEY": ENV.exa_api_key.get_secret_value(),
    "TAVILY_API_KEY": ENV.tavily_api_key.get_secret_value(),
    "BRAVE_API_KEY": ENV.brave_api_key.get_secret_value(),
}
SEARCH_URLS = {
    "exa": ENV.exa_base_url,
    "tavily": ENV.tavily_base_url,
    "brave": ENV.brave_base_url,
    "searxng": ENV.searxng_url,
}
MCP_DISABLE_STDIO = ENV.mcp_disable_stdio
MCP_ALLOWED_HOSTS = [host.strip() for host in ENV.mcp_allowed_hosts.split(",") if host.strip()]
MCP_OAUTH_REDIRECT_URL = ENV.mcp_oauth_redirect_url
MCP_CONNECT_TIMEOUT_S = ENV.mcp_connect_timeout_s
MCP_LIST_TIMEOUT_S = ENV.mcp_list_timeout_s
MCP_EXECUTE_TIMEOUT_S = ENV.mcp_execute_timeout_s
EXPORTS_DIR = ENV.exports_dir or DATA_DIR / "exports"
EXPORT_DAYS = ENV.export_days
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    "exports": {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": EXPORTS_DIR}},
}
TRACE_CONTENT, TRACE_ANALYZER = ENV.trace_content, ENV.trace_analyzer
PROVIDER_TRACE_BACKENDS = [name.strip() for name in ENV.provider_trace_backends.split(",") if name.strip()]
TELEMETRY_SOCKET = ENV.telemetry_socket
OTLP_ENDPOINT, OTLP_HEADERS, OTLP_CONTENT = ENV.otlp_endpoint, ENV.otlp_headers, ENV.otlp_content

EMAIL_URL = ENV.email_url
_mail = urlsplit(EMAIL_URL)
EMAIL_HOST, EMAIL_PORT = _mail.hostname or "localhost", _mail.port or (465 if _mail.scheme == "smtps" else 587)
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = unquote(_mail.username or ""), unquote(_mail.password or "")
EMAIL_USE_SSL = _mail.scheme == "smtps"
EMAIL_USE_TLS = not EMAIL_USE_SSL and dict(parse_qsl(_mail.query)).get("tls") != "no"
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = SERVER_EMAIL = ENV.email_from
ALERT_PRIVATE_ADDRESSES = ENV.alert_private_addresses
WEBHOOK_PRIVATE_ADDRESSES = ENV.webhook_private_addresses

PROVIDER_ALLOWED_HOSTS = [host.strip() for host in ENV.provider_allowed_hosts.split(",") if host.strip()]
PROVIDER_CHECK_HOURS = ENV.provider_check_hours
BASE_PROVIDERS = _env.base_providers(ENV)
DEFAULT_MODEL = ENV.default_model
DEFAULT_EMBEDDING = ENV.default_embedding

HOST, PORT, WEB_SERVER, WEB_THREADS = ENV.host, ENV.port, ENV.web_server, ENV.web_threads
WORKER_CONCURRENCY = ENV.worker_concurrency

REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["accounts.rest.BearerKey", "accounts.rest.AdminSession"],
    "DEFAULT_PERMISSION_CLASSES": ["accounts.rest.ScopeNeeded"],
    "DEFAULT_PAGINATION_CLASS": "core.rest.Pages",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "EXCEPTION_HANDLER": "core.rest.answer_error",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "Perennial: what calls cost and how they went",
    "VERSION": "0.1.0",
    "DESCRIPTION": "Traces, usage, latency. Send `Authorization: Bearer pn_…`, or log in to the admin.",
    "SCHEMA_PATH_PREFIX": "/api",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
}

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
    "loggers": {
        "httpx": {"level": "WARNING"},
        "httpx2": {"level": "WARNING"},
        "celery.app.trace": {"level": "WARNING"},
    },
}
