"""Audits of the ledger and re-pricings in the admin: one's own, and a red line where the books do not agree."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse

from conversations.ledger_models import LedgerAudit, Repricing
from core.time import now
from tests.support import admin_pages
from tests.support.seed import Seeded, seed

pytestmark = pytest.mark.usefixtures("clickhouse")
RED = "The ledger does not agree"
TODAY = now().date()


def audited(world: Seeded, days_ago: int, **found: Any) -> LedgerAudit:
    day = TODAY - timedelta(days=days_ago)
    return LedgerAudit.objects.create(organization=world.organization, day=day, checked_at=now(), calls=7, **found)


def test_a_failed_audit_is_a_red_line_at_home_until_a_later_one_agrees(browser: Any, world: Seeded) -> None:
    client, page = browser("viewer"), "/admin/?period=30d"
    audits = reverse("admin:conversations_ledgeraudit_changelist")
    assert "No day was audited yet" in client.get(audits).content.decode()
    call = world.trace_ids[0]
    wrong = audited(
        world,
        2,
        mismatch_count=1_234,
        mismatches=[{"kind": "cost", "id": call, "said": "<b>0.1</b> USD, not 0.2"}],
        unchecked={"tokens: estimated": 3},
    )
    assert RED in client.get(page).content.decode()
    html = client.get(admin_pages.change(wrong)).content.decode()
    assert reverse("admin:telemetry_trace", args=[call]) in html
    assert "The unit prices on the row give another cost" in html
    assert "&lt;b&gt;0.1&lt;/b&gt; USD" in html
    assert "tokens: estimated" in html
    assert "1,234 mismatches" in client.get(audits).content.decode()
    audited(world, 1)
    assert RED not in client.get(page).content.decode()
    assert "say the same" in client.get(admin_pages.change(LedgerAudit.objects.latest("day"))).content.decode()
    audited(world, 0, problem="ClickHouse did not answer")
    assert "no result" in client.get(page).content.decode()


def test_another_organizations_books_are_not_to_be_seen(browser: Any, world: Seeded) -> None:
    other = seed("Elsewhere", number=4)
    theirs = audited(other, 1, mismatch_count=3)
    job = Repricing.objects.create(organization=other.organization, start=TODAY, end=TODAY, reason="secret plan")
    client = browser("viewer")
    assert RED not in client.get("/admin/").content.decode()
    for row in (theirs, job):
        assert client.get(admin_pages.change(row)).status_code == 302
    assert "secret plan" not in client.get(reverse("admin:conversations_repricing_changelist")).content.decode()


def test_a_repricing_says_what_it_changed(browser: Any, world: Seeded) -> None:
    client, page = browser("viewer"), reverse("admin:conversations_repricing_changelist")
    assert "Nothing was priced anew" in client.get(page).content.decode()
    result = [{"model": "openai/x", "calls": 12, "old_cost_usd": "0", "new_cost_usd": "1.5", "priced": 12}]
    job = Repricing.objects.create(
        organization=world.organization, start=TODAY, end=TODAY, reason="A price came late", result=result
    )
    assert "unfinished" in client.get(page).content.decode()
    Repricing.objects.filter(pk=job.pk).update(finished_at=now())
    html = client.get(page).content.decode()
    assert "A price came late" in html
    assert "$0 → $1.50" in html.replace("$0.00", "$0")
    assert client.get(admin_pages.change(job)).status_code == 200
