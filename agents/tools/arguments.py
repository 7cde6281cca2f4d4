"""Arguments of a call, as the model wrote them: read, completed, and checked against the tool's schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from agents.tools.base import ToolError

IGNORED = frozenset({"request_heartbeat", "thinking", "inner_thoughts"})
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}


class PrefillConflict(ToolError):
    """A rule fixes an argument that the tool does not take, or to a value of the wrong type."""


def read(name: str, arguments: str, schema: Mapping[str, Any], prefilled: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments to call with; `prefilled` ones win. Raises ToolError, PrefillConflict."""
    parameters = schema.get("parameters") or {}
    for key, value in prefilled.items():
        problem = _problem(key, value, parameters)
        if problem:
            raise PrefillConflict(f"A tool rule fixes the arguments of {name}, but {problem}.")
    args = {k: v for k, v in _parsed(name, arguments).items() if k not in IGNORED or k in _properties(parameters)}
    args |= prefilled
    required = parameters.get("required") or []
    args = {key: value for key, value in args.items() if value is not None or key in required}
    missing = [f"'{key}'" for key in required if key not in args]
    if missing:
        plural = "s" if len(missing) > 1 else ""
        raise ToolError(f"{name}() missing {len(missing)} required argument{plural}: {' and '.join(missing)}")
    problems = [problem for key, value in args.items() if (problem := _problem(key, value, parameters))]
    if problems:
        raise ToolError(f"{name}(): {'; '.join(problems)}")
    return {key: _whole(value, parameters, key) for key, value in args.items()}


def _parsed(name: str, arguments: str) -> dict[str, Any]:
    if not arguments.strip():
        return {}
    try:
        value = json.loads(arguments, strict=False)
    except ValueError as error:
        raise ToolError(
            f"{name}(): the arguments are not valid JSON ({error}). Send one JSON object with the tool's arguments."
        ) from None
    if not isinstance(value, dict):
        raise ToolError(f"{name}(): the arguments must be one JSON object, not {type(value).__name__}.")
    return dict(clean_all(value)) if "\\u" in arguments or "\x00" in arguments else value


def clean(text: str) -> str:
    """Without what PostgreSQL and UTF-8 cannot hold: NUL and lone surrogates."""
    if text.isascii() and "\x00" not in text:
        return text
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def clean_all(value: Any) -> Any:
    """Every text in a JSON value, cleaned."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [clean_all(item) for item in value]
    if isinstance(value, dict):
        return {clean_all(key): clean_all(item) for key, item in value.items()}
    return value


def _properties(parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    return parameters.get("properties") or {}


def _problem(key: str, value: Any, parameters: Mapping[str, Any]) -> str | None:
    properties = _properties(parameters)
    if key not in properties:
        if not properties or parameters.get("additionalProperties"):
            return None
        return f"it takes no argument '{key}' (it takes {', '.join(properties)})"
    return _mismatch(f"'{key}'", value, properties[key])


def _mismatch(where: str, value: Any, schema: Mapping[str, Any]) -> str | None:
    kinds = schema.get("type")
    names = [kinds] if isinstance(kinds, str) else list(kinds or ())
    if names and not any(_is(value, kind) for kind in names):
        return f"{where} must be {' or '.join(names)}, not {json.dumps(value, ensure_ascii=False, default=str)[:80]}"
    if schema.get("enum") and value not in schema["enum"]:
        return f"{where} must be one of {', '.join(map(str, schema['enum']))}"
    if isinstance(value, list) and isinstance(schema.get("items"), Mapping):
        found = (_mismatch(f"each item of {where}", item, schema["items"]) for item in value)
        return next((problem for problem in found if problem), None)
    return None


def _is(value: Any, kind: str) -> bool:
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    if isinstance(value, bool) and kind in ("integer", "number"):
        return False
    return isinstance(value, _TYPES.get(kind, (object,)))


def _whole(value: Any, parameters: Mapping[str, Any], key: str) -> Any:
    """`3.0` where an integer is asked for, as some models write it."""
    if isinstance(value, float) and (_properties(parameters).get(key) or {}).get("type") == "integer":
        return int(value)
    return value
