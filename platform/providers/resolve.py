"""From a handle (`provider/model`) to all that a call needs: the only way from a name to a credential."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from core.errors import BadInput
from providers import pricing
from providers.catalog import ModelInfo, describe, is_reasoning_model, preset_of, presets
from providers.clients.base import Client, Credential, client_for
from providers.entries import Asker, Entry, base_entries, price_overrides
from providers.errors import ProviderError
from providers.listing import listing_of, models_of, named
from providers.rules import Choice, StandIn, choose, usable
from providers.use import note_use

__all__ = [
    "Asker",
    "ResolvedModel",
    "list_embedding_models",
    "list_models",
    "note_use",
    "price_overrides",
    "resolve",
    "stand_in",
    "warm_up",
]
_SHOWN = 20
_COMMON_KEYS = "OPENAI_API_KEY, ANTHROPIC_API_KEY, OPENROUTER_API_KEY or OLLAMA_BASE_URL"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedModel:
    """A model that can be called. `provider_id` is the row of an organization's own provider, None for a base one.

    `stand_ins`: what may be asked instead when it fails. `is_previous_key`: the key before the present one.
    """

    credential: Credential
    model: str
    info: ModelInfo
    provider_id: str | None
    category: str
    stand_ins: tuple[StandIn, ...] = ()
    is_previous_key: bool = False

    @property
    def client(self) -> Client:
        return client_for(self.credential, tool_mode=self.info.tool_mode)


def resolve(organization_id: str, handle: str, project_id: str = "", identity_id: str = "") -> ResolvedModel:
    """Raises BadInput for a handle that names nothing, and says what there is. At most a query in five seconds.

    The narrowest own key of the provider's name is taken: the end user's, the project's, the organization's; then the
    installation's. A rule of the organization or the project changes that: see `providers.rules`.
    """
    asker = Asker(organization_id, project_id, identity_id)
    provider_name, slash, model = handle.partition("/")
    if not slash or not provider_name or not model:
        raise BadInput(f"'{handle}' is not a model handle: it must read provider/model. {_existing(asker)}")
    choice = choose(asker, provider_name)
    if choice is None:
        raise BadInput(_no_provider(asker, provider_name))
    entry = choice.entry
    if entry.problem and not choice.stand_ins:
        raise BadInput(f"{entry.problem} Enter the key of provider '{entry.name}' anew.")
    found = _resolved(choice, model)
    if found is None:
        raise BadInput(f"Provider '{provider_name}' has no model '{model}'. {_existing(asker, entry)}")
    return found


def stand_in(target: ResolvedModel, error: ProviderError) -> ResolvedModel | None:
    """What to ask instead of a target that failed; None where the failure is to be shown."""
    if error.upstream_status is None:  # not the vendor's word: another key would be in no better place
        return None
    for position, other in enumerate(target.stand_ins, 1):
        if isinstance(error, other.reasons) and not other.entry.problem:
            found = _resolved(Choice(other.entry, target.stand_ins[position:]), target.model)
            if found is not None:
                return found
    return None


def _resolved(choice: Choice, model: str) -> ResolvedModel | None:
    """None where the provider's server has no such model."""
    entry, rest = choice.entry, choice.stand_ins
    if entry.problem:  # the key cannot be read, but the one before it can
        return _resolved(Choice(rest[0].entry, rest[1:]), model)
    info = _info(entry, model)
    if info is None:
        return None
    return ResolvedModel(
        credential=_with_dialect(entry.credential, model),
        model=model,
        info=named(entry, info),
        provider_id=entry.provider_id,
        category=entry.category,
        stand_ins=rest,
        is_previous_key=entry.is_previous,
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
    anything = provider_type == "azure" or is_claude_at_vertex(provider_type, model)  # deployments have any name
    if anything or listing.error or not listing.models:
        return describe(provider_type, model)
    if _is_alias(provider_type, model, listing.models):
        return describe(provider_type, model)
    return None


def is_claude_at_vertex(provider_type: str, model: str) -> bool:
    """Listed only where the project may see a partner's models, and callable also where it may not."""
    return provider_type == "google_vertex" and model.startswith("claude")


def is_claude_at_bedrock(model: str) -> bool:
    """Also of a profile of one's own, whose name does not say what is behind it."""
    return "anthropic." in model or (model.startswith("arn:") and "foundation-model/" not in model)


def _is_alias(provider_type: str, model: str, listed: Iterable[str]) -> bool:
    """`claude-sonnet-4-5` where the dated name is listed; `model:variant` where the model is."""
    base = model.split(":", 1)[0].removesuffix("-latest")
    return any(name == base or name.startswith((f"{base}-2", f"{base}:")) for name in listed)


def _with_dialect(credential: Credential, model: str) -> Credential:
    """OpenAI itself shows the reasoning of its reasoning models in Responses alone; platforms have several vendors'."""
    if is_claude_at_vertex(credential.provider_type, model) and not credential.dialect:
        return replace(credential, dialect="anthropic")
    if credential.provider_type == "bedrock" and not credential.dialect and not is_claude_at_bedrock(model):
        return replace(credential, dialect="converse")
    if credential.dialect or credential.provider_type != "openai" or not is_reasoning_model(model):
        return credential
    host = urlsplit(credential.base_url or "").hostname
    if host not in (None, "api.openai.com"):
        return credential
    return replace(credential, dialect="openai_responses")


def _existing(asker: Asker, entry: Entry | None = None) -> str:
    entries = [entry] if entry else usable(asker)
    handles = [info.handle for info in models_of(entries) if info.kind == "llm"]
    if not handles:
        return f"There is no model yet: set {_COMMON_KEYS}, or add a provider."
    more = f" and {len(handles) - _SHOWN} more" if len(handles) > _SHOWN else ""
    return f"Models: {', '.join(handles[:_SHOWN])}{more}."


def _no_provider(asker: Asker, name: str) -> str:
    preset = presets().get(name)
    env = preset and (preset.key_env or preset.url_env)
    mend = f" Set {env} in the environment, or add a provider with that name." if env else ""
    return f"There is no provider '{name}'.{mend} {_existing(asker)}"


def list_models(organization_id: str, project_id: str = "", identity_id: str = "") -> list[ModelInfo]:
    """The language models that an organization can use."""
    return _listed("llm", Asker(organization_id, project_id, identity_id))


def list_embedding_models(organization_id: str, project_id: str = "", identity_id: str = "") -> list[ModelInfo]:
    return _listed("embedding", Asker(organization_id, project_id, identity_id))


def _listed(kind: str, asker: Asker) -> list[ModelInfo]:
    return [info for info in models_of(usable(asker)) if info.kind == kind]


def warm_up() -> None:
    """Pay imports, price data and the base providers' model lists before the first call (a worker's start)."""
    pricing.warm_up()
    entries = list(base_entries().values())
    models_of(entries)
    for entry in entries:
        if preset_of(entry.credential.provider_type).dialect != "minilm":
            with suppress(ProviderError):  # its list has just been logged as one that cannot be had
                client_for(entry.credential)
