"""Secrets of an agent on the wire: sent as a map, shown by name."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field, SecretStr

from agents.schemas.base import Wire

# What stands where a value would: sent back with its name, it keeps the value.
VALUE_MASK = "••••••••"
UNREADABLE = "unreadable: no encryption key of this server opens it, send it anew"
MAX_VARIABLES = 200

VariableName = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^=\x00\s]+$")]
VariableValue = Annotated[SecretStr, Field(max_length=100_000)]
Variables = Annotated[dict[VariableName, VariableValue], Field(max_length=MAX_VARIABLES)]


class VariableOut(Wire):
    """AgentEnvironmentVariable of the contract. `value` is a mask."""

    created_by_id: str | None = None
    last_updated_by_id: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    id: str
    key: str
    value: str
    description: str | None = None
    value_enc: str | None = None
    agent_id: str
