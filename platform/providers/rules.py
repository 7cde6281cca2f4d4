"""Which provider serves a name: the asker's own key or the installation's, and what stands in when it fails.

An own key of the same name goes before the installation's, whatever its scope; only the rule `base_only` turns that
round. Under a rule that asks for own keys, one of another name counts too if it leads to the same vendor at the same
address, so that agents keep their handles when an organization brings its keys.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from core.errors import BadInput
from providers.catalog import preset_of
from providers.clients.base import Credential
from providers.entries import Asker, Entry, base_entries, merged, own_entries, rule_of
from providers.errors import AuthenticationFailed, InsufficientCredits, ProviderError, RateLimited
from providers.models import Rule

REFUSED_KEY: tuple[type[ProviderError], ...] = (AuthenticationFailed,)
SPENT_KEY: tuple[type[ProviderError], ...] = (AuthenticationFailed, InsufficientCredits, RateLimited)
_ADD = "Add one in the admin (Providers), or ask the organization's owner to change the rule (Key rules)."


@dataclass(frozen=True, slots=True)
class StandIn:
    """What is asked instead when the provider before it fails for one of these reasons."""

    entry: Entry
    reasons: tuple[type[ProviderError], ...]


@dataclass(frozen=True, slots=True)
class Choice:
    entry: Entry
    stand_ins: tuple[StandIn, ...] = ()


def choose(asker: Asker, name: str) -> Choice | None:
    """None where nothing has the name. Raises BadInput where a rule forbids what there is, with the mend."""
    rule = rule_of(asker)
    base = base_entries().get(name)
    if rule == Rule.BASE_ONLY:
        return _base_only(asker, name, base)
    groups = own_entries(asker)
    own = next((group[name] for group in groups if name in group), None)
    if own is None and rule and base is not None:
        own = _like(base, merged(groups).values())
    if rule == Rule.BYOK_ONLY:
        return _own_only(name, own, base)
    if own is None:
        return Choice(base) if base is not None else None
    if rule != Rule.BYOK_FIRST:
        return Choice(own, _standing_by(own))
    base = base or _like(own, base_entries().values())
    if base is None:
        return Choice(own, _standing_by(own))
    if own.problem:  # a key that cannot be read is a key that fails
        return Choice(base)
    return Choice(own, (*_standing_by(own), StandIn(base, SPENT_KEY)))


def usable(asker: Asker) -> list[Entry]:
    """All that the asker's handles may begin with: one provider a name."""
    rule = rule_of(asker)
    base = base_entries()
    if rule == Rule.BASE_ONLY:
        return list(base.values())
    own = merged(own_entries(asker))
    if rule == Rule.BYOK_ONLY:
        base = {name: entry for name, entry in base.items() if _is_free(entry)}
    return list({**base, **own}.values())


def _base_only(asker: Asker, name: str, base: Entry | None) -> Choice | None:
    if base is None and any(name in group for group in own_entries(asker)):
        raise BadInput(
            f"Provider '{name}' is an own key, and the key rule here is “{Rule.BASE_ONLY.label}”: "
            "take a model of the installation, or have the rule changed (Key rules in the admin)."
        )
    return Choice(base) if base is not None else None


def _own_only(name: str, own: Entry | None, base: Entry | None) -> Choice | None:
    if own is not None:
        return Choice(own, _standing_by(own))
    if base is None:
        return None
    if _is_free(base):
        return Choice(base)
    raise BadInput(
        f"There is no own key for provider '{name}', and the key rule here is “{Rule.BYOK_ONLY.label}”. {_ADD}"
    )


def _standing_by(own: Entry) -> tuple[StandIn, ...]:
    previous = own.standing_by()
    return () if previous is None else (StandIn(previous, REFUSED_KEY),)


def _is_free(entry: Entry) -> bool:
    """Runs on the operator's own machines without any key: a rule about keys does not reach it."""
    preset = preset_of(entry.credential.provider_type)
    keyless = preset.local or preset.dialect in ("scripted", "minilm")
    return keyless and not entry.credential.api_key


def _like(entry: Entry, others: Iterable[Entry]) -> Entry | None:
    """The first at the same vendor and address: there, the same name of a model means the same model."""
    if not place(entry.credential)[1]:
        return None
    here = place(entry.credential)
    return next((other for other in others if place(other.credential) == here), None)


def place(credential: Credential) -> tuple[str, str, str]:
    """Vendor and address, however the address is written."""
    url = credential.base_url or preset_of(credential.provider_type).base_url or ""
    parts = urlsplit(url if "://" in url else f"//{url}")
    return credential.provider_type, parts.netloc.lower(), parts.path.rstrip("/").removesuffix("/v1")
