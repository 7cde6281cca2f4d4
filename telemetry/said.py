"""What was said to a model and what it answered, kept to the byte, as JSON objects for those who read it."""

from __future__ import annotations

from typing import Any

import orjson


def as_object(payload: bytes | str) -> dict[str, Any]:
    """What is no JSON object is wrapped into one; nothing gives an empty one."""
    if not payload:
        return {}
    try:
        value = orjson.loads(payload)
    except orjson.JSONDecodeError:
        text = payload if isinstance(payload, str) else payload.decode("utf-8", "replace")
        return {"_raw": text}
    return value if isinstance(value, dict) else {"_value": value}
