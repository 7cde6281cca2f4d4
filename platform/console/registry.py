"""Where the rooms above hang pages, home panels and names into the console, which imports none of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse

from console.access import shown_organization_ids
from console.periods import Period
from core.ids import is_id

View = Callable[..., HttpResponse]


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the admin that stands for no model: `route` below /admin/, `name` as in `admin:<name>`."""

    route: str
    name: str
    view: View


@dataclass(frozen=True, slots=True)
class Scope:
    """What the home page is asked for. `organization_ids` None: the whole installation."""

    request: HttpRequest
    period: Period
    organization_ids: list[str] | None


@dataclass(frozen=True, slots=True)
class Panel:
    """A part of the home page. `load` gives the context of `template`, or None to show nothing."""

    order: int
    template: str
    load: Callable[[Scope], dict[str, Any] | None]


Names = Callable[[Iterable[str]], Mapping[str, str]]

_pages: dict[str, Page] = {}
_panels: dict[str, Panel] = {}
_names: dict[str, Names] = {}
_fallbacks: dict[str, Panel] = {}


def register_page(page: Page) -> None:
    _pages[page.name] = page


def pages() -> list[Page]:
    return list(_pages.values())


def register_panel(panel: Panel) -> None:
    _panels[panel.template] = panel


def panels() -> list[Panel]:
    return sorted(_panels.values(), key=lambda panel: panel.order)


def register_fallback(panel: Panel) -> None:
    """What PostgreSQL knows of a period: shown where ClickHouse should speak and does not answer."""
    _fallbacks[panel.template] = panel


def fallbacks(request: HttpRequest, period: Period) -> list[dict[str, Any]]:
    """Ready to be shown: template and data."""
    scope = Scope(request, period, shown_organization_ids(request))
    ordered = sorted(_fallbacks.values(), key=lambda panel: panel.order)
    shown = [(panel.template, panel.load(scope)) for panel in ordered]
    return [{"template": template, "data": data} for template, data in shown if data is not None]


def register_names(kind: str, names: Names) -> None:
    """`kind` is the prefix of the ids: agent, org, conv ..."""
    _names[kind] = names


def names_of(kind: str, ids: Iterable[str]) -> Mapping[str, str]:
    """Id to name, of those that still exist."""
    wanted = {item for item in ids if is_id(kind, item)}  # traces hold whatever callers sent
    return _names[kind](wanted) if wanted and kind in _names else {}
