"""The dimensions of the analytics as the cockpit shows them: labels, values in words, places in an address."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from console.display import short
from console.registry import names_of
from telemetry.analytics import DIMENSIONS as KNOWN

# How an address asks for the rows that have no value there (no agent, no end user): an empty one asks for nothing.
NONE = "~none"
MOST_VALUES = 50
LONGEST = 500


@dataclass(frozen=True, slots=True)
class Shown:
    """`kind`: the prefix of ids that have names; `none`: what "" is called."""

    key: str
    label: str
    kind: str = ""
    none: str = "none"
    plural: str = ""

    @property
    def known(self) -> bool:
        return self.key in KNOWN

    @property
    def many(self) -> str:
        return self.plural or f"{self.label.lower()}s"


SHOWN = (
    Shown("model", "Model", none="no model"),
    Shown("provider", "Provider", none="no provider"),
    Shown("organization", "Organization", "org", "no organization"),
    Shown("project", "Project", "project", "no project"),
    Shown("agent", "Agent", "agent", "no agent"),
    Shown("tag", "Agent tag", none="no tag"),
    Shown("api_key", "API key", "key", "no API key", "API keys"),
    Shown("provider_key", "Provider key", "provider", "base keys"),
    Shown("end_user", "End user", none="no end user"),
    Shown("call_type", "Kind of call"),
    Shown("is_byok", "Own or base keys"),
    Shown("error_type", "Error", none="no error"),
    Shown("price_source", "Price source"),
    Shown("finish_reason", "Finish reason", none="not given"),
    Shown("conversation", "Conversation", "conv", "no conversation"),
)
BY_KEY = {shown.key: shown for shown in SHOWN}
FLAGS = {"true": "Own keys (BYOK)", "false": "Base keys"}
# What one narrows to next, from the large to the small.
NEXT = ("model", "agent", "provider", "api_key", "end_user", "call_type", "project")

Filters = dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class Chip:
    """A filter that is on. `without`: the address without it."""

    label: str
    text: str
    without: str


def words(key: str, values: Iterable[str]) -> dict[str, str]:
    """Each value as a person reads it, by one query at most."""
    shown, wanted = BY_KEY[key], list(dict.fromkeys(values))
    names: Mapping[str, str] = names_of(shown.kind, wanted) if shown.kind else {}
    found = {value: _word(shown, value, names) for value in wanted}
    shared = {name for name, times in Counter(found.values()).items() if times > 1}
    return {value: f"{name} ({short(value)})" if name in shared else name for value, name in found.items()}


def _word(shown: Shown, value: str, names: Mapping[str, str]) -> str:
    if not value:
        return shown.none
    if shown.key == "is_byok":
        return FLAGS.get(value, value)
    if shown.key == "call_type":
        return value.replace("_", " ")
    return names.get(value) or (short(value) if shown.kind else value)


def next_dimension(taken: Iterable[str]) -> str:
    """What to group by once these are said."""
    used = set(taken)
    return next((key for key in NEXT if key not in used), "model")


def in_address(value: str) -> str:
    return value or NONE


def from_address(value: str) -> str:
    return "" if value == NONE else value
