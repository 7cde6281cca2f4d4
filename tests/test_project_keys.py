"""A key of one project meets every route of `/api`: it finds that project's rows, and nothing of another or of none."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from accounts.actions import NewKey, create_api_key
from accounts.models import Project
from budgets.models import Budget, RateLimit, Stop
from config.rest import ROUTES
from conversations.models import Run
from core.time import now
from providers.models import KeyRule, Provider
from telemetry.client import connect
from telemetry.inserter import INSERT_TRACES
from telemetry.models.export import Export, ExportState
from tests.support.api import Tenant
from tests.support.factories import default_of, make_agent, make_run
from tests.support.traces import call, row

ROWS: dict[str, type[Any]] = {
    "budget_id": Budget,
    "limit_id": RateLimit,
    "stop_id": Stop,
    "provider_id": Provider,
    "run_id": Run,
    "export_id": Export,
}
WHOLE = {"budgets/effective", "sql", "webhooks/secret"}  # what only a key of the organization may ask
BODY = {"amount": "5", "reason": "r", "by": "1", "api_key": "sk-new-key-0123456789", "sql": "SELECT 1"}


@dataclass
class Share:
    """The rows of one project, or of none; their ids by the names that the routes have for them."""

    project: Project | None
    ids: dict[str, str]


@pytest.fixture
def shares(clickhouse: str, tenant: Tenant) -> dict[str, Share]:
    organization = tenant.organization
    projects = {name: Project.objects.create(organization=organization, name=name) for name in ("mine", "other")}
    found = {name: _share(tenant, name, project) for name, project in {**projects, "none": None}.items()}
    traces = [
        row(call(organization, id=share.ids["trace_id"], model=f"model-{name}", project_id=_id(share.project)))[0]
        for name, share in found.items()
    ]
    client = connect(clickhouse)
    client.execute(INSERT_TRACES, [list(column) for column in zip(*traces, strict=True)], columnar=True)
    client.disconnect()
    return found


def _share(tenant: Tenant, name: str, project: Project | None) -> Share:
    organization = tenant.organization
    about = {"organization": organization, "scope": "project" if project else "organization", "target": _id(project)}
    filters = {"start": "2026-01-01T00:00:00+00:00", "end": "2026-01-02T00:00:00+00:00", "model": f"model-{name}"}
    run = make_run(
        default_of(make_agent(organization)), project=project, callback_url="https://a.test/x", callback_sent_at=now()
    )
    KeyRule.objects.create(organization=organization, project=project, rule="byok_first")
    made = (
        Budget.objects.create(**about, name=f"budget-{name}", amount=1),
        RateLimit.objects.create(**about, kind="requests", amount=1, period_s=60),
        Stop.objects.create(**about, reason=f"stop-{name}"),
        Provider.objects.create(organization=organization, project=project, name=f"own-{name}", provider_type="openai"),
        run,
        Export.objects.create(
            organization=organization,
            format="csv",
            state=ExportState.FAILED,
            filters=filters | ({"project_id": project.pk} if project else {}),
        ),
    )
    return Share(project, dict(zip(ROWS, (one.pk for one in made), strict=True)) | {"trace_id": f"trace-{name}"})


def _id(project: Project | None) -> str:
    return str(project.pk) if project else ""


@pytest.fixture
def bound(tenant: Tenant, shares: dict[str, Share]) -> Client:
    new = NewKey(name="of one project", project=shares["mine"].project)
    return Client(headers={"Authorization": f"Bearer {create_api_key(tenant.organization, tenant.user, new)[1]}"})


def paths() -> list[str]:
    return [str(route.pattern).replace("<str:", "{").replace(">", "}") for route in ROUTES]


def hidden(shares: dict[str, Share]) -> list[str]:
    others = [share for name, share in shares.items() if name != "mine"]
    words = [_id(share.project) for share in others if share.project] + ["model-other", "model-none"]
    return [*words, *(value for share in others for value in share.ids.values())]


def test_its_lists_and_figures_have_its_own_rows_alone(bound: Client, shares: dict[str, Share]) -> None:
    since = {"start": (now() - timedelta(hours=1)).isoformat()}
    for path in paths():
        if "{" in path or path in WHOLE:
            continue
        figures = path in ("usage", "latency", "errors", "cache", "byok")
        told = bound.get(f"/api/{path}", {**since, "by": "model"} if figures else {})
        assert told.status_code == 200, (path, told.content)
        assert not [word for word in hidden(shares) if word in told.content.decode()], path
        assert path in ("errors", "unpriced", "key-rules") or told.json().get("items", told.json().get("groups")), path
    assert bound.get("/api/usage", since).json()["total"]["calls"] == 1
    assert [rule["project_id"] for rule in bound.get("/api/key-rules").json()["items"]] == [_id(shares["mine"].project)]


def test_rows_of_another_project_and_of_none_are_not_there_for_any_method(
    bound: Client, shares: dict[str, Share]
) -> None:
    for path in (path for path in paths() if "{" in path):
        for share in (share for name, share in shares.items() if name != "mine"):
            for method in ("get", "post", "patch", "delete"):
                answer = getattr(bound, method)(
                    f"/api/{path.format(**share.ids)}", BODY, content_type="application/json"
                )
                assert answer.status_code in (404, 405), (method, path, answer.content)
    for name, model in ROWS.items():
        assert model.objects.filter(pk__in=[share.ids[name] for share in shares.values()]).count() == len(shares)
    assert bound.get(f"/api/traces/{shares['mine'].ids['trace_id']}/explanation").status_code == 200
    assert bound.get(f"/api/budgets/{shares['mine'].ids['budget_id']}").status_code == 200


def test_what_is_the_whole_organizations_is_refused_with_the_mend(bound: Client, shares: dict[str, Share]) -> None:
    for path in WHOLE:
        for method in ("get", "post"):
            answer = getattr(bound, method)(f"/api/{path}", BODY, content_type="application/json")
            assert answer.status_code in (403, 405), (path, answer.content)
            assert answer.status_code == 405 or "use a key of no project" in answer.json()["detail"]
    other, mine = _id(shares["other"].project), _id(shares["mine"].project)
    for query in (f"usage?project={other}", f"traces?project_id={other}"):
        assert bound.get(f"/api/{query}").status_code == 403
    rule = {"name": "n", "amount": "1", "kind": "tokens", "period_s": 60, "reason": "r"}
    for path in ("budgets", "limits", "stops"):
        for about in (
            {"scope": "organization"},
            {"scope": "project", "target": other},
            {"scope": "agent", "target": "*"},
        ):
            assert bound.post(f"/api/{path}", rule | about, "application/json").status_code == 403, path
    fields = {"name", "amount"}
    body = {name: rule[name] for name in fields} | {"scope": "project", "target": mine}
    assert bound.post("/api/budgets", body, "application/json").status_code == 201
    assert bound.post("/api/exports", {"format": "csv", "project_id": other}, "application/json").status_code == 403
    made = bound.post("/api/exports", {"format": "csv"}, "application/json")
    assert made.json()["filters"]["project_id"] == mine
