"""The field names that the recorded exchanges of Letta's V1 API have, by noun, and those that are ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_GOLDEN = Path(__file__).resolve().parents[1] / "agents" / "golden" / "contract_keys.json"
_OURS = dict.fromkeys(("agent", "agent.bare", "tool"), ("approval_expires_s",))
_OPEN = frozenset({"metadata", "metadata_", "json_schema", "args_json_schema"})


def contract(noun: str) -> dict[str, Any]:
    recorded = dict(json.loads(_GOLDEN.read_text())[noun])
    return recorded | dict.fromkeys(_OURS.get(noun, ()))


def keys(value: dict[str, Any]) -> dict[str, Any]:
    """The field names of a JSON object, and of the objects in it; those whose fields are the user's stay closed."""
    return {n: keys(part) if isinstance(part, dict) and n not in _OPEN else None for n, part in value.items()}
