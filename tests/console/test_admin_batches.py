"""The pages of batches: how far each is, where its calls are, and cancelling one."""

from __future__ import annotations

from typing import Any

import pytest
from django.urls import reverse

from accounts.models import AuditEntry
from tests.support import admin_pages
from tests.support.seed import Seeded

pytestmark = pytest.mark.usefixtures("redis")


def test_a_batch_shows_its_requests_and_the_vendors_batches(browser: Any, world: Seeded) -> None:
    batch = admin_pages.batch_of(world)
    client = browser("viewer")
    listed = client.get(reverse("admin:conversations_batch_changelist")).content.decode()
    assert "100 %" in listed
    page = client.get(admin_pages.change(batch)).content.decode()
    for shown in ("batch_68f", "openai/gpt-5-mini", "$0.00018", "No such model.", "Slow.", str(world.runs[0].pk)):
        assert shown in page
    assert "Cancel this batch" not in page


def test_operators_cancel_a_batch_and_viewers_do_not(browser: Any, world: Seeded) -> None:
    batch = admin_pages.batch_of(world)
    cancel = reverse("admin:conversations_batch_cancel", args=[batch.pk])
    assert browser("viewer").post(cancel).status_code == 403
    client = browser("operator")
    assert "Cancel this batch" in client.get(admin_pages.change(batch)).content.decode()
    assert client.get(cancel).status_code == 405
    client.post(cancel)
    batch.refresh_from_db()
    assert batch.status == "cancelled"
    assert AuditEntry.objects.filter(action="batch.cancel", target=batch.pk).count() == 1
    assert "This batch has ended already." in client.post(cancel, follow=True).content.decode()
