"""The admin in Debian's Chromium, on a desk and on a phone: no error, nothing from outside, nothing cut off."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.support.seed import Seeded

CHROMIUM = "/usr/bin/chromium"
SIZES = {"desktop": {"width": 1280, "height": 900}, "phone": {"width": 375, "height": 740}}

COCKPIT = (
    "/admin/?period=30d",
    "/admin/usage/?period=30d",
    "/admin/usage/?period=30d&by=agent&by=model",
    "/admin/usage/?period=7d&by=provider&metric=latency_p95&interval=hour",
    "/admin/usage/?period=30d&metric=tokens&by=-&is_byok=false",
    "/admin/telemetry/traces/?period=30d",
    "/admin/telemetry/traces/?period=30d&failed=on&min_ms=x",
)

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(300),
]


@pytest.fixture
def world(transactional_db: None, clickhouse: str) -> Seeded:
    from tests.support.seed import Size, seed

    return seed("Northwind", size=Size(agents=3, turns=4, days=5), clickhouse_url=clickhouse)


@pytest.fixture
def pages(world: Seeded) -> list[str]:
    from accounts.models import User
    from tests.support import admin_pages
    from tests.support.seed import PASSWORD

    User.objects.create_superuser("root@example.test", PASSWORD)
    return [
        "/admin/",
        *COCKPIT,
        *trace_tabs(world),
        *admin_pages.lists(),
        *admin_pages.empties(),
        *admin_pages.details(world),
    ]


def trace_tabs(world: Seeded) -> list[str]:
    url = f"/admin/telemetry/traces/{world.trace_ids[1]}/"
    return [f"{url}?tab={tab}" for tab in ("diff", "cost", "json", "details")]


def log_in(page: Page, base: str) -> None:
    from tests.support.seed import PASSWORD

    page.goto(f"{base}/admin/login/")
    page.fill("input[name=username]", "root@example.test")
    page.fill("input[name=password]", PASSWORD)
    page.click("[type=submit]")
    page.wait_for_url(f"{base}/admin/")


def watched(page: Page, base: str) -> list[str]:
    """What goes wrong on the page from now on."""
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("response", lambda answer: wrong.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None)
    inside = (base, "data:", "blob:")
    page.on("request", lambda request: None if request.url.startswith(inside) else wrong.append(f"to {request.url}"))
    return wrong


def in_chromium(size: str, visit: Callable[[Page], Any], **options: Any) -> Any:
    """Playwright's loop runs in this thread: the database is touched before it and after it, never within."""
    from playwright.sync_api import sync_playwright

    assert Path(CHROMIUM).exists(), "these tests need Debian's chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        )
        try:
            return visit(chromium.new_context(viewport=SIZES[size], **options).new_page())  # type: ignore[arg-type]
        finally:
            chromium.close()


@pytest.mark.parametrize("size", SIZES)
def test_the_main_pages_open_without_an_error_and_fit(live_server: Any, pages: list[str], size: str) -> None:
    base = live_server.url

    def visit(page: Page) -> None:
        log_in(page, base)
        wrong = watched(page, base)
        for url in pages:
            page.goto(base + url)
            wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
            assert wide <= 0, f"{url} is {wide} pixels too wide"
            assert not wrong, f"{url}: {wrong}"

    in_chromium(size, visit)


def test_a_key_can_be_made_and_copied(live_server: Any, pages: list[str], world: Seeded) -> None:
    base, organization = live_server.url, world.organization.pk

    def visit(page: Page) -> tuple[str, str]:
        log_in(page, base)
        wrong = watched(page, base)
        page.goto(f"{base}/admin/accounts/apikey/add/")
        page.select_option("#id_organization", organization)
        page.fill("#id_name", "From the browser")
        page.click("[name=_save]")
        page.click("[data-copy]")
        page.wait_for_selector("[data-copy][data-done]")
        assert not wrong, wrong
        return page.inner_text("#new-secret"), page.evaluate("navigator.clipboard.readText()")

    permissions = ["clipboard-read", "clipboard-write"]
    shown, copied = in_chromium("desktop", visit, permissions=permissions)
    assert shown.startswith("pn_")
    assert copied == shown


def test_the_focus_is_seen_and_dark_mode_is_dark(live_server: Any, pages: list[str]) -> None:
    base = live_server.url

    def visit(page: Page) -> tuple[dict[str, str], str]:
        log_in(page, base)
        page.wait_for_selector(".pn-segments a")
        page.focus("#pn-organization")
        page.keyboard.press("Tab")
        focused = page.evaluate(
            "(() => { const s = getComputedStyle(document.activeElement);"
            " return JSON.stringify({tag: document.activeElement.tagName, width: s.outlineWidth, style: s.outlineStyle}) })()"
        )
        return json.loads(focused), page.evaluate("getComputedStyle(document.querySelector('.pn-kpi')).backgroundColor")

    outline, light = in_chromium("desktop", visit, color_scheme="light")
    _, dark = in_chromium("desktop", visit, color_scheme="dark")
    assert outline["tag"] != "BODY"
    assert (outline["style"], outline["width"]) != ("none", "0px")
    assert light == "rgb(255, 255, 255)"
    assert dark != light


def test_a_chart_tells_the_column_under_the_pointer_and_a_click_leads_to_its_calls(
    live_server: Any, pages: list[str], world: Seeded
) -> None:
    base = live_server.url

    def visit(page: Page) -> tuple[str, str, int]:
        log_in(page, base)
        wrong = watched(page, base)
        page.goto(f"{base}/admin/usage/?period=7d&metric=calls&by=provider")
        bar = page.locator(".pn-part").last
        bar.hover()
        told = page.inner_text(".pn-tip")
        bar.click()
        page.wait_for_url(f"{base}/admin/telemetry/traces/**")
        calls = page.locator(".pn-dense tbody tr").count()
        assert not wrong, wrong
        return told, page.url, calls

    told, url, calls = in_chromium("desktop", visit)
    assert "Total" in told
    assert "provider=" in url
    assert f" {calls}" in told.replace("\n", " ")


def test_the_usage_page_works_by_the_keyboard_alone(live_server: Any, pages: list[str]) -> None:
    base = live_server.url

    def visit(page: Page) -> tuple[str, str, str]:
        log_in(page, base)
        wrong = watched(page, base)
        page.goto(f"{base}/admin/usage/?period=30d")
        page.focus("#u-metric")
        page.keyboard.press("ArrowDown")
        kept = page.url
        page.focus("[aria-label='What is shown'] button")
        page.keyboard.press("Enter")
        page.wait_for_url("**metric=tokens**")
        shown = page.inner_text(".pn-card h2 >> nth=0")
        page.focus(".pn-twin summary")
        page.keyboard.press("Enter")
        page.focus(".pn-twin td a")
        page.keyboard.press("Enter")
        page.wait_for_url(f"{base}/admin/telemetry/traces/**")
        assert not wrong, wrong
        return kept, shown, page.url

    kept, shown, url = in_chromium("desktop", visit)
    assert "metric=" not in kept
    assert shown.startswith("All tokens by day")
    assert "period=custom" in url
