"""The addresses of the admin's pages for what a seeded organization holds."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import Model
from django.urls import reverse

from budgets.models import Budget, BudgetWindow, RateLimit, Stop
from core.time import now
from providers.models import PriceOverride, Provider
from telemetry.models import TraceDeletion, TracePolicy
from tests.support.seed import Seeded

AGENT_TABS = ("memory", "tools", "conversations", "runs", "spend")
BLOCK_TABS = ("revisions", "agents")


def provider_of(world: Seeded, name: str = "our-openai") -> Provider:
    return Provider.objects.create(
        organization=world.organization,
        name=name,
        provider_type="openai",
        api_key=f"sk-secret-of-{world.organization.name}",
        fingerprint="sk-s...wind",
    )


def price_of(world: Seeded) -> PriceOverride:
    return PriceOverride.objects.create(organization=world.organization, model="qwen3:8b", input="0.1", output="0.4")


def rules_of(world: Seeded) -> list[Model]:
    """A budget of each agent that one has spent from, a limit, and a stop."""
    organization, agent_id = world.organization, world.agents[0].pk
    name = f"Budget of {organization.name}"
    budget = Budget.objects.create(organization=organization, name=name, amount=10, scope="agent", target="*")
    BudgetWindow.objects.create(budget=budget, target=agent_id, starts_at=now(), spent="8.5", unpriced_calls=2)
    limit = RateLimit.objects.create(organization=organization, amount=60)
    stop = Stop.objects.create(organization=organization, scope="agent", target=agent_id, reason="It went wild.")
    return [budget, limit, stop]


def deletion_of(world: Seeded) -> TraceDeletion:
    return TraceDeletion.objects.create(
        organization=world.organization, scope="agent", target_id=world.agents[0].pk, cut_off=world.agents[0].created_at
    )


def lists() -> list[str]:
    return [reverse(f"admin:{model._meta.label_lower.replace('.', '_')}_changelist") for model in admin.site._registry]


def adds() -> list[str]:
    return [reverse(f"admin:{model._meta.label_lower.replace('.', '_')}_add") for model in admin.site._registry]


def change(obj: Model) -> str:
    return reverse(f"admin:{obj._meta.label_lower.replace('.', '_')}_change", args=[obj.pk])


def details(world: Seeded) -> list[str]:
    """Every page of one row: a row of each model, and each tab."""
    assert world.archive is not None
    rows: list[Model] = [
        world.organization,
        world.owner,
        world.project,
        world.key,
        world.agents[0],
        world.blocks[0],
        world.archive,
        world.passages[0],
        world.conversations[0],
        world.runs[0],
        world.steps[0],
        provider_of(world),
        price_of(world),
        *rules_of(world),
        TracePolicy.objects.create(organization=world.organization),
        deletion_of(world),
    ]
    pages = [change(row) for row in rows]
    pages += [reverse(f"admin:agents_agent_{tab}", args=[world.agents[0].pk]) for tab in AGENT_TABS]
    pages += [reverse(f"admin:agents_block_{tab}", args=[world.blocks[0].pk]) for tab in BLOCK_TABS]
    pages += [reverse("admin:agents_agent_history", args=[world.agents[0].pk])]
    return [*pages, reverse("admin:telemetry_trace", args=[world.trace_ids[0]])]
