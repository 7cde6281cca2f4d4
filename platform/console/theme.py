"""How the admin looks and what its side bar holds: the setting `UNFOLD`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def _static(name: str) -> Callable[[Any], str]:
    def address(request: Any) -> str:
        from django.templatetags.static import static

        return static(name)

    return address


def _page(name: str) -> Callable[[Any], str]:
    def address(request: Any) -> str:
        from django.urls import NoReverseMatch, reverse

        try:
            return reverse(f"admin:{name}")
        except NoReverseMatch:  # the room that owns the page is not installed
            return ""

    return address


def _item(title: str, icon: str, name: str) -> dict[str, Any]:
    address = _page(name)
    return {"title": title, "icon": icon, "link": address, "permission": lambda request: bool(address(request))}


def _list(title: str, icon: str, model: str) -> dict[str, Any]:
    return _item(title, icon, f"{model}_changelist")


NAVIGATION = [
    {
        "items": [
            _item("Overview", "space_dashboard", "index"),
            _item("Usage", "bar_chart", "telemetry_usage"),
            _item("Traces", "query_stats", "telemetry_traces"),
        ]
    },
    {
        "title": "Agents",
        "separator": True,
        "items": [
            _list("Agents", "smart_toy", "agents_agent"),
            _list("Memory blocks", "dataset", "agents_block"),
            _list("Tools", "construction", "agents_tool"),
            _list("MCP servers", "lan", "agents_mcpserver"),
            _list("Archives", "inventory_2", "agents_archive"),
            _list("Passages", "notes", "agents_passage"),
        ],
    },
    {
        "title": "Activity",
        "separator": True,
        "items": [
            _list("Conversations", "forum", "conversations_conversation"),
            _list("Runs", "play_circle", "conversations_run"),
            _list("Steps", "stairs_2", "conversations_step"),
            _list("Batches", "stacks", "conversations_batch"),
            _item("Webhooks", "webhook", "conversations_webhooks"),
        ],
    },
    {
        "title": "Models",
        "separator": True,
        "items": [
            _list("Providers", "hub", "providers_provider"),
            _list("Key rules", "key", "providers_keyrule"),
            _list("Prices", "sell", "providers_priceoverride"),
        ],
    },
    {
        "title": "Limits",
        "separator": True,
        "items": [
            _list("Budgets", "savings", "budgets_budget"),
            _list("Rate limits", "speed", "budgets_ratelimit"),
            _list("Stops", "block", "budgets_stop"),
            _item("What holds for whom", "rule", "budgets_effective"),
        ],
    },
    {
        "title": "Alerts",
        "separator": True,
        "items": [
            _list("Alert rules", "notifications", "telemetry_alertrule"),
            _list("Alert channels", "send", "telemetry_alertchannel"),
        ],
    },
    {
        "title": "Ledger and traces",
        "separator": True,
        "items": [
            _list("Ledger audits", "account_balance", "conversations_ledgeraudit"),
            _list("Re-pricings", "price_change", "conversations_repricing"),
            _list("Exports", "download", "telemetry_export"),
            _item("SQL", "terminal", "telemetry_sql"),
            _list("Trace policies", "policy", "telemetry_tracepolicy"),
            _list("Trace deletions", "delete_sweep", "telemetry_tracedeletion"),
        ],
    },
    {
        "title": "Accounts",
        "separator": True,
        "items": [
            _list("Organizations", "domain", "accounts_organization"),
            _list("Users", "group", "accounts_user"),
            _list("Projects", "folder_open", "accounts_project"),
            _list("API keys", "vpn_key", "accounts_apikey"),
        ],
    },
]

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Perennial",
    "SITE_HEADER": "Perennial",
    "SITE_SUBHEADER": "Stateful agents",
    "SITE_URL": "/admin/",
    "SITE_SYMBOL": "potted_plant",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": _static("console/favicon.svg")}],
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_BACK_BUTTON": False,
    "BORDER_RADIUS": "8px",
    "DASHBOARD_CALLBACK": "console.home.dashboard",
    "STYLES": [_static(f"console/{name}.css") for name in ("console", "charts", "cockpit", "chat")],
    "SCRIPTS": [_static("console/console.js"), _static("console/charts.js")],
    "COMMAND": {"search_models": False, "show_history": False},
    "SIDEBAR": {
        "show_search": True,
        "command_search": True,
        "show_all_applications": False,
        "navigation": NAVIGATION,
    },
    "COLORS": {
        "primary": {
            "50": "oklch(97.9% .021 166.113)",
            "100": "oklch(95% .052 163.051)",
            "200": "oklch(90.5% .093 164.15)",
            "300": "oklch(84.5% .143 164.978)",
            "400": "oklch(76.5% .177 163.223)",
            "500": "oklch(69.6% .17 162.48)",
            "600": "oklch(50.8% .118 165.612)",
            "700": "oklch(43.2% .095 166.913)",
            "800": "oklch(37.8% .077 168.94)",
            "900": "oklch(33% .066 170)",
            "950": "oklch(26.2% .051 172.552)",
        },
    },
}
