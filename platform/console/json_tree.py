"""JSON to be folded and unfolded, without a script: nested details, every text escaped, long ones clipped."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

MOST_NODES = 3_000
LONGEST_TEXT = 4_000
OPEN_DEPTH = 2
# What says in a word which of many objects this is.
HINTS = ("role", "name", "type", "label", "id")
DEEPEST = 60


class _Budget:
    """How many more nodes may be drawn."""

    def __init__(self) -> None:
        self.left = MOST_NODES

    def take(self) -> bool:
        self.left -= 1
        return self.left >= 0


def json_tree(value: Any) -> SafeString:
    """As HTML. What goes beyond the limits is counted, and is to be read in the text."""
    return _node(value, 0, _Budget())


def _node(value: Any, depth: int, budget: _Budget) -> SafeString:
    if isinstance(value, dict):
        hint = next((value[name] for name in HINTS if isinstance(value.get(name), str)), "")
        return _branch(value.items(), f"{{}}{hint[:60]}", depth, budget)
    if isinstance(value, list):
        return _branch(enumerate(value), "[]", depth, budget)
    return _leaf(value)


def _branch(pairs: Iterable[tuple[Any, Any]], looks: str, depth: int, budget: _Budget) -> SafeString:
    """`looks`: the two brackets, and after them a word to tell it by while it is folded."""
    items, brackets, hint = list(pairs), looks[:2], looks[2:]
    if not items:
        return format_html('<span class="pn-j-mark">{}</span>', brackets)
    if depth >= DEEPEST:
        return format_html('<span class="pn-j-mark">{}</span>', "…")
    drawn: list[tuple[str, SafeString]] = []
    for key, item in items:
        if not budget.take():
            break
        drawn.append((str(key), _node(item, depth + 1, budget)))
    rows = format_html_join("", '<li><span class="pn-j-key">{}</span> {}</li>', drawn)
    rest = len(items) - len(drawn)
    more = format_html('<li class="pn-subtle">… {} more: see the text</li>', rest) if rest else ""
    return format_html(
        '<details{}><summary><span class="pn-j-mark">{}</span><span class="pn-subtle">{}</span>'
        '<span class="pn-j-mark">{}</span> <span class="pn-j-hint">{}</span></summary><ul>{}{}</ul></details>',
        SafeString(" open") if depth < OPEN_DEPTH else "",
        brackets[0],
        f"{len(items):,}",
        brackets[1],
        hint,
        rows,
        more,
    )


def _leaf(value: Any) -> SafeString:
    if isinstance(value, str):
        return format_html('<span class="pn-j-text">{}</span>', _clipped(value))
    kind = "null" if value is None else "flag" if isinstance(value, bool) else "number"
    words = {None: "null", True: "true", False: "false"}
    return format_html(
        '<span class="pn-j-{}">{}</span>', kind, words.get(value, str(value)) if kind != "number" else value
    )


def _clipped(text: str) -> str:
    if text.startswith("data:") and len(text) > 200:
        return f"{text[:40]}… {len(text) - 40:,} more characters"
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}… {len(text) - LONGEST_TEXT:,} more characters"
