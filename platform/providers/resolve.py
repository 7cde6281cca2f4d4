"""From a handle (`provider/model`) to all that a call needs: the only way from a name to a credential."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from core.errors import BadInput
from providers import pricing
from providers.catalog import ModelInfo, describe, is_reasoning_model, preset_of, presets
from providers.clients.base import Client, Credential, client_for
from providers.entries import Entry, base_entries, entries_of, entry_named, note_use, price_overrides
from providers.listing import listing_of, models_of, named

__all__ = [
    "ResolvedModel",
    "list_embedding_models",
    "list_models",
    "note_use",
    "price_overrides",
    "resolve",
    "warm_up",
]
_SHOWN = 20
_COMMON_KEYS = "OPENAI_API_KEY, ANTHROPIC_API_KEY, OPENROUTER_API_KEY or OLLAMA_BASE_URL"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedModel:
    """A model that can be called. `provider_id` is the row of an organization's own provider, None for a base one."""

    credential: Credential
    model: str
    info: ModelInfo
    provider_id: str | None
    category: str

    @property
    def client(self) -> Client:
        return client_for(self.credential, tool_mode=self.info.tool_mode)


def resolve(organization_id: str, handle: str) -> ResolvedModel:
    """Raises BadInput for a handle that names nothing, and says what there is. No query for a base provider."""
    provider_name, slash, model = handle.partition("/")
    if not slash or not provider_name or not model:
        raise BadInput(f"'{handle}' is not a model handle: it must read provider/model. {_existing(organization_id)}")
    entry = entry_named(organization_id, provider_name)
    if entry is None:
        raise BadInput(_no_provider(organization_id, provider_name))
    if entry.problem:
        raise BadInput(f"{entry.problem} Enter the key of provider '{entry.name}' anew.")
    info = _info(entry, model)
    if info is None:
        raise BadInput(f"Provider '{provider_name}' has no model '{model}'. {_existing(organization_id, entry)}")
    return ResolvedModel(
        credential=_with_dialect(entry.credential, model),
        model=model,
        info=named(entry, info),
        provider_id=entry.provider_id,
        category=entry.category,
    )


def _info(entry: Entry, model: str) -> ModelInfo | None:
    """What is known of a model; None if its server lists others and this one is not a variant or alias of any."""
    listing = listing_of(entry.credential, stale_ok=True)
    if model not in listing.models and not listing.fresh:
        listing = listing_of(entry.credential)
    known = listing.models.get(model)
    if known is not None:
        return known
    provider_type = entry.credential.provider_type
    if listing.error or not listing.models or _is_alias(provider_type, model, listing.models):
        return describe(provider_type, model)
    return None


def _is_alias(provider_type: str, model: str, listed: Iterable[str]) -> bool:
    """`claude-sonnet-4-5` where the dated name is listed; `model:variant` where the model is."""
    base = model.split(":", 1)[0].removesuffix("-latest")
    return any(name == base or name.startswith((f"{base}-2", f"{base}:")) for name in listed)


def _with_dialect(credential: Credential, model: str) -> Credential:
    """OpenAI itself shows the reasoning of its reasoning models in Responses alone."""
    if credential.dialect or credential.provider_type != "openai" or not is_reasoning_model(model):
        return credential
    host = urlsplit(credential.base_url or "").hostname
    if host not in (None, "api.openai.com"):
        return credential
    return replace(credential, dialect="openai_responses")


def _existing(organization_id: str, entry: Entry | None = None) -> str:
    entries = [entry] if entry else entries_of(organization_id)
    handles = [info.handle for info in models_of(entries) if info.kind == "llm"]
    if not handles:
        return f"There is no model yet: set {_COMMON_KEYS}, or add a provider."
    more = f" and {len(handles) - _SHOWN} more" if len(handles) > _SHOWN else ""
    return f"Models: {', '.join(handles[:_SHOWN])}{more}."


def _no_provider(organization_id: str, name: str) -> str:
    preset = presets().get(name)
    env = preset and (preset.key_env or preset.url_env)
    mend = f" Set {env} in the environment, or add a provider with that name." if env else ""
    return f"There is no provider '{name}'.{mend} {_existing(organization_id)}"


def list_models(organization_id: str) -> list[ModelInfo]:
    """The language models that an organization can use."""
    return [info for info in models_of(entries_of(organization_id)) if info.kind == "llm"]


def list_embedding_models(organization_id: str) -> list[ModelInfo]:
    return [info for info in models_of(entries_of(organization_id)) if info.kind == "embedding"]


def warm_up() -> None:
    """Pay imports, price data and the base providers' model lists before the first call (a worker's start)."""
    pricing.warm_up()
    entries = list(base_entries().values())
    models_of(entries)
    for entry in entries:
        if preset_of(entry.credential.provider_type).dialect != "minilm":
            client_for(entry.credential)
