"""The addresses of the admin's pages for what a seeded organization holds."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.urls import reverse

from agents.mcp.models import McpServer
from agents.mcp.target import sealed
from agents.models import Tool
from budgets.models import Budget, BudgetWindow, RateLimit, Stop
from conversations.batch_models import Batch, BatchItem
from conversations.ledger_models import LedgerAudit, Repricing
from conversations.vendor_models import VendorBatch, VendorCall
from core.time import now
from providers.models import KeyRule, PriceOverride, Provider
from telemetry.models import AlertChannel, AlertRule, Export, TraceDeletion, TracePolicy
from tests.support.seed import Seeded

AGENT_TABS = ("memory", "tools", "conversations", "runs", "spend", "clone")
BLOCK_TABS = ("revisions", "agents")
TOOL_TABS = ("change", "source", "agents")


def provider_of(world: Seeded, name: str = "our-openai") -> Provider:
    return Provider.objects.create(
        organization=world.organization,
        name=name,
        provider_type="openai",
        api_key=f"sk-secret-of-{world.organization.name}",
        fingerprint="sk-s...wind",
    )


def tool_of(world: Seeded) -> Tool:
    name = "order"
    schema = {"name": name, "description": "Orders.", "parameters": {"type": "object", "properties": {}}}
    defaults = {"json_schema": schema, "source_code": 'def order():\n    """Orders."""\n'}
    return Tool.objects.get_or_create(organization=world.organization, name=name, defaults=defaults)[0]


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


def deletions_of(world: Seeded) -> list[TraceDeletion]:
    """One of each state, with long ids, pieces, a receipt."""
    piece = {"backend": "clickhouse", "table": "llm_traces", "partition": "202611", "found": 1834, "done": False}
    states: dict[str, dict[str, Any]] = {
        "running": {
            "pieces": [piece, {**piece, "table": "llm_payloads", "done": True}],
            "waits_for": "host:/spool " * 9,
        },
        "failed": {"waits_for": "ClickHouse did not answer: Connection refused (127.0.0.1:9000)"},
        "done": {"pieces": [{**piece, "done": True}], "receipt": {}, "receipt_sha256": "ab" * 32, "finished_at": now()},
    }
    kept = {"organization": world.organization, "organization_name": world.organization.name, "cut_off": now()}
    made = [
        TraceDeletion(state=state, scope="identity", target_id="x" * 60, **kept, **own) for state, own in states.items()
    ]
    return [deletion_of(world), *TraceDeletion.objects.bulk_create(made)]


def exports_of(world: Seeded) -> list[Export]:
    filters = {"start": "2026-10-25T00:00:00+00:00", "model": "gpt-5-mini", "agent_id": str(world.agents[0].pk)}
    states: dict[str, dict[str, Any]] = {
        "queued": {},
        "running": {"progress": 42, "rows": 18_234},
        "done": {"rows": 3, "size_bytes": 1_234_567, "file": "x"},
        "failed": {"error": "The disk is full. " * 10},
    }
    made = [
        Export(organization=world.organization, format="jsonl", filters=filters, state=state, **own)
        for state, own in states.items()
    ]
    return Export.objects.bulk_create(made)


def books_of(world: Seeded) -> list[Model]:
    """A day that does not agree, one without a result, and a re-pricing."""
    organization, today = world.organization, now().date()
    wrong = [
        {"kind": "cost", "id": world.trace_ids[0], "said": "0.000123 USD, not 0.000246: input 12 at 0.000003"},
        {"kind": "step_cost", "id": str(world.steps[0].pk), "said": "0.1 USD, not 0.2"},
    ]
    kept: dict[str, Any] = {"organization": organization, "checked_at": now(), "calls": 12_345}
    bad = LedgerAudit.objects.create(
        **kept, day=today, mismatch_count=1_234, mismatches=wrong, unchecked={"tokens: estimated": 3}
    )
    none = LedgerAudit.objects.create(**kept, day=today - timedelta(days=1), problem="ClickHouse did not answer")
    result = [{"model": "openai/x", "calls": 12, "old_cost_usd": "0", "new_cost_usd": "1.5", "priced": 12}]
    job = Repricing.objects.create(organization=organization, start=today, end=today, reason="Late.", result=result)
    return [bad, none, job]


def batch_of(world: Seeded) -> Batch:
    """One with two runs, of which one was with a vendor, and a request that could not be made."""
    own = {"organization": world.organization}
    batch = Batch.objects.create(**own, request_count=3)
    vendor = {"provider_name": "openai", "dialect": "openai_chat", "model": "gpt-5-mini"}
    sent = VendorBatch.objects.create(**own, **vendor, call_count=2, vendor_id="batch_68f", state="sent", error="Slow.")
    agent = world.agents[0]
    for place, run in enumerate([*world.runs[:2], None]):
        error = None if run else {"type": "not_found", "message": "No such model."}
        BatchItem.objects.create(**own, batch=batch, place=place, agent=agent, run=run, status="ended", error=error)
        if run:
            call = {"run": run, "batch": sent, "step_index": 9, "start": {}, "is_held": False, "request_bytes": 0}
            VendorCall.objects.create(**own, **vendor, **call, cost_usd="0.00009")
    return batch


def alerts_of(world: Seeded) -> list[Model]:
    organization = world.organization
    channel = AlertChannel.objects.create(
        organization=organization,
        name="Pager",
        kind="webhook",
        address="https://hooks.example.test/secret",
        shown="https://hooks.example.test/…",
        secret="whsec",
        failures=3,
        last_error="503 Service Unavailable",
        last_error_at=now(),
    )
    rule = AlertRule.objects.create(organization=organization, name="Dear", metric="cost", alert=20)
    return [channel, rule]


def mcp_server_of(world: Seeded) -> McpServer:
    return McpServer.objects.create(
        organization=world.organization,
        name=f"mcp of {world.organization.name}",
        server_type="sse",
        config=sealed({"server_url": f"https://mcp.example.test/sse?key=sk-secret-of-{world.organization.name}"}),
        address="https://mcp.example.test",
        state="failed",
        last_error="The MCP server did not answer.",
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
        mcp_server_of(world),
        *rules_of(world),
        TracePolicy.objects.create(organization=world.organization),
        KeyRule.objects.create(organization=world.organization, rule="byok_first"),
        *deletions_of(world),
        *exports_of(world),
        *books_of(world),
        *alerts_of(world),
        batch_of(world),
    ]
    pages = [change(row) for row in rows]
    pages += [reverse(f"admin:agents_agent_{tab}", args=[world.agents[0].pk]) for tab in AGENT_TABS]
    pages += [reverse(f"admin:agents_block_{tab}", args=[world.blocks[0].pk]) for tab in BLOCK_TABS]
    pages += [reverse(f"admin:agents_tool_{tab}", args=[tool_of(world).pk]) for tab in TOOL_TABS]
    pages += [
        reverse("admin:agents_mcpserver_settings", args=[McpServer.objects.get(organization=world.organization).pk])
    ]
    pages += [reverse("admin:agents_agent_history", args=[world.agents[0].pk])]
    return [*pages, reverse("admin:telemetry_trace", args=[world.trace_ids[0]])]


def empties() -> list[str]:
    """Pages of no row: forms, and the SQL console."""
    names = ["telemetry_sql", "budgets_effective", "telemetry_tracedeletion_add", "telemetry_export_add"]
    names += ["telemetry_tracepolicy_add", "telemetry_alertchannel_add", "telemetry_alertrule_add"]
    names += ["providers_provider_add", "providers_keyrule_add", "agents_tool_add", "agents_mcpserver_add"]
    names += ["conversations_webhooks"]
    return [reverse(f"admin:{name}") for name in names]
