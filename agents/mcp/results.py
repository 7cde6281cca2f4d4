"""What a tool of a server answered, as text for a model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from agents.tools.arguments import clean

_SHOWN_URI = 200


def text_of(content: Sequence[Mapping[str, Any]], structured: Any) -> str:
    """`content`: its blocks as the wire has them. Pictures and sounds are named, not shown."""
    parts = [part for part in map(_part, content) if part]
    if not parts and structured is not None:
        parts = [json.dumps(structured, ensure_ascii=False)]
    return clean("\n".join(parts))


def _part(block: Mapping[str, Any]) -> str:
    kind = block.get("type")
    if kind == "text":
        return str(block.get("text") or "")
    if kind in ("image", "audio"):
        size = len(str(block.get("data") or "")) * 3 // 4
        return f"[{kind}: {block.get('mimeType') or 'of unknown type'}, {size} bytes]"
    if kind == "resource":
        resource = block.get("resource") or {}
        return str(resource.get("text") or f"[resource: {str(resource.get('uri'))[:_SHOWN_URI]}]")
    if kind == "resource_link":
        return f"[resource: {str(block.get('name'))[:_SHOWN_URI]} {str(block.get('uri'))[:_SHOWN_URI]}]"
    return ""
