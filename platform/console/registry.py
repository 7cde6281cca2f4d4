"""Where the rooms above hang pages, home panels and names into the console, which imports none of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse

from console.periods import Period

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


def register_page(page: Page) -> None:
    _pages[page.name] = page


def pages() -> list[Page]:
    return list(_pages.values())


def register_panel(panel: Panel) -> None:
    _panels[panel.template] = panel


def panels() -> list[Panel]:
    return sorted(_panels.values(), key=lambda panel: panel.order)


def register_names(kind: str, names: Names) -> None:
    """`kind` is the prefix of the ids: agent, org, conv ..."""
    _names[kind] = names


def names_of(kind: str, ids: Iterable[str]) -> Mapping[str, str]:
    """Id to name, of those that still exist."""
    wanted = {item for item in ids if item.startswith(f"{kind}-")}
    return _names[kind](wanted) if wanted and kind in _names else {}
