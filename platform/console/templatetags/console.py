"""The display functions as template filters, and the pieces that several pages share."""

from __future__ import annotations

from typing import Any

from django import template

from console import display
from console.paging import link_with
from core.amounts import as_text

register = template.Library()

register.filter("badge", display.badge)
register.filter("usd", display.usd)
register.filter("count", display.count)
register.filter("compact", display.compact)
register.filter("span", display.span)
register.filter("percent", display.percent)
register.filter("when", display.when)
register.filter("pretty", display.pretty)
register.filter("to", display.link)
register.filter("short", display.short)


@register.filter
def spaced(text: Any) -> str:
    return str(text).replace("_", " ")


@register.filter
def unlocalized(number: Any) -> str:
    """A number as a field of a form takes it back."""
    return f"{number:f}" if hasattr(number, "as_tuple") else str(number)


@register.filter
def amount(number: Any) -> str:
    """A decimal in full, without idle zeros."""
    return as_text(number) if hasattr(number, "as_tuple") else str(number)


@register.filter
def get(mapping: Any, key: Any) -> Any:
    return mapping.get(key) if hasattr(mapping, "get") else None


@register.simple_tag(takes_context=True)
def with_query(context: Any, **changes: Any) -> str:
    """The query string of this page with parameters changed ("" removes one)."""
    return link_with(context["request"], **{name: str(value) or None for name, value in changes.items()})
