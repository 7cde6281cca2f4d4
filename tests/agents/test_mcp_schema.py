"""What becomes of a server's input schema: references written out, vendors' dislikes taken away, the unsound marked."""

from __future__ import annotations

from typing import Any

import pytest

from agents.mcp.models import Health
from agents.mcp.schema import clean
from agents.mcp.target import MissingVariable, filled, shown, unmasked


def obj(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def test_references_are_written_out() -> None:
    schema = {**obj(who={"$ref": "#/$defs/Person"}), "$defs": {"Person": obj(name={"type": "string"})}, "$schema": "x"}
    assert clean(schema).parameters == obj(who=obj(name={"type": "string"}))


def test_a_reference_to_itself_ends() -> None:
    schema = {**obj(root={"$ref": "#/$defs/Node"}), "$defs": {"Node": obj(child={"$ref": "#/$defs/Node"})}}
    found = clean(schema)
    assert found.parameters == obj(root=obj(child={}))
    assert found.health == Health.LOOSE


def test_a_strict_schema_is_called_so() -> None:
    schema = {**obj(a={"type": "string"}), "required": ["a"], "additionalProperties": False}
    assert clean(schema).health == Health.STRICT


def test_what_vendors_refuse_is_taken_away() -> None:
    schema = {**obj(a={"type": "array"}), "required": ["a", "ghost"], "oneOf": [{"required": ["a"]}]}
    found = clean(schema)
    assert found.parameters == {**obj(a={"type": "array", "items": {}}), "required": ["a"]}
    assert found.health == Health.LOOSE


def _deep() -> dict[str, Any]:
    node: dict[str, Any] = {"type": "string"}
    for _ in range(200):
        node = obj(a=node)
    return node


def _bomb() -> dict[str, Any]:
    """Sixteen levels, each of which refers to the next one ten times."""
    levels = {f"L{n}": obj(**{f"p{i}": {"$ref": f"#/$defs/L{n + 1}"} for i in range(10)}) for n in range(16)}
    return {**obj(a={"$ref": "#/$defs/L0"}), "$defs": {**levels, "L16": {"type": "string"}}}


@pytest.mark.parametrize(
    "schema",
    [
        None,
        [],
        {"type": "string"},
        {"type": "object", "properties": []},
        obj(a={"type": "strin"}),
        obj(a={"$ref": "https://example.test/x.json"}),
        obj(a={"$ref": "#/$defs/None"}),
        obj(a="string"),
        {**obj(), "required": "a"},
        {**obj(), "description": "x" * 70_000},
        _deep(),
        _bomb(),
    ],
)
def test_an_unsound_schema_offers_nothing_and_says_why(schema: Any) -> None:
    found = clean(schema)
    assert found.parameters == obj()
    assert found.health == Health.INVALID
    assert found.reasons


def test_templates_are_filled_from_an_agents_variables_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OF_THE_SERVER", "secret")
    given = {"a": "{{ KEY }}-${KEY}", "b": ["{{NONE | plain}}", "${NONE:-other}"], "c": 3}
    assert filled(given, {"KEY": "k"}) == {"a": "k-k", "b": ["plain", "other"], "c": 3}
    with pytest.raises(MissingVariable, match="OF_THE_SERVER"):
        filled("{{ OF_THE_SERVER }}", {})


def test_arguments_and_queries_that_hold_secrets_are_masked_and_come_back() -> None:
    stored = {"command": "x", "args": ["--token", "t1", "--api-key=k1", "--port", "80"], "env": {"A": "1", "B": "${B}"}}
    as_shown = shown(stored)
    assert as_shown["args"] == ["--token", "********", "--api-key=********", "--port", "80"]
    assert as_shown["env"] == {"A": "********", "B": "${B}"}
    changed = {**as_shown, "env": {"A": "********", "B": "new"}}
    assert unmasked(changed, stored, as_shown) == {**stored, "env": {"A": "1", "B": "new"}}
