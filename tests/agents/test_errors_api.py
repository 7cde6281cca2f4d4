"""What a caller is told when something is wrong: the same body for the same failure on every route."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import orjson
import pytest
from django.db import OperationalError
from django.test import RequestFactory
from ninja import NinjaAPI
from psycopg.errors import DeadlockDetected

from accounts.actions import NewKey, create_api_key, revoke_api_key
from accounts.models import Project, Scope
from core.errors import Conflict
from core.time import now
from providers.errors import RateLimited
from tests.support.api import Api, Tenant

UNKNOWN = "agent-00000000-0000-4000-8000-000000000000"


def test_health_needs_no_key(db: None) -> None:
    for path in ("/health/", "/health"):
        assert Api(None).get(path).ok() == {"version": "0.1.0", "status": "ok"}


def test_ready_asks_the_database(db: None) -> None:
    assert Api(None).get("/ready/").ok()["status"] == "ok"


@pytest.mark.parametrize("key", [None, "", "nonsense", "pn_0123456789ab_wrong"])
def test_a_wrong_or_missing_key_is_401(db: None, key: str | None) -> None:
    answer = Api(key).get("/agents/")
    assert answer.status == 401
    assert "key" in answer.detail


def test_an_unknown_agent_is_404(api: Api) -> None:
    answer = api.get(f"/agents/{UNKNOWN}")
    assert (answer.status, answer.json) == (404, {"detail": f"Agent with ID {UNKNOWN} not found"})


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/agents/nonsense", "agent_id"),
        ("/agents/agent-123", "agent_id"),
        ("/agents/block-00000000-0000-4000-8000-000000000000", "agent_id"),
        ("/blocks/nonsense", "block_id"),
        ("/tools/nonsense", "tool_id"),
        ("/agents/?limit=abc", "limit"),
        ("/agents/?limit=0", "limit"),
        ("/agents/?order=up", "order"),
        ("/agents/?order_by=name", "order_by"),
        ("/agents/?match_all_tags=perhaps", "match_all_tags"),
        ("/blocks/?connected_to_agents_count_eq=x", "connected_to_agents_count_eq.0"),
    ],
)
def test_a_malformed_id_or_query_is_422_naming_the_field(api: Api, path: str, field: str) -> None:
    answer = api.get(path)
    assert answer.status == 422
    assert answer.detail.startswith(f"{field}: ")
    assert set(answer.json) - {"examples"} == {"trace_id", "detail"}


def test_a_malformed_id_comes_with_an_example(api: Api) -> None:
    assert api.get("/agents/nonsense").json["examples"] == ["agent-123e4567-e89b-42d3-8456-426614174000"]


def test_every_wrong_field_of_a_body_is_named_with_its_reason(api: Api) -> None:
    answer = api.post("/agents/", {"memory_blocks": "no", "tags": 3})
    assert answer.status == 422
    assert answer.detail == (
        "tags: Input should be a valid list (got 3); memory_blocks: Input should be a valid list (got 'no')"
    )


def test_a_wrong_field_deep_in_a_body_is_located(api: Api) -> None:
    answer = api.post("/agents/", {"memory_blocks": [{"label": "a", "value": "b"}, {"value": "b"}]})
    assert answer.detail == "memory_blocks.1.label: Field required"


@pytest.mark.parametrize("body", [b"{bad", b"[1, 2", b"\xff\xfe", b'{"a": NaN}', b'{"name": "\\ud800"}'])
def test_a_body_that_is_not_json_is_422(api: Api, body: bytes) -> None:
    answer = api.post("/agents/", body)
    assert answer.status == 422
    assert answer.detail.startswith("body: not valid JSON")


@pytest.mark.parametrize("body", [b"[]", b"3", b'"text"', b"null", b""])
def test_a_body_that_is_no_object_is_422(api: Api, body: bytes) -> None:
    answer = api.post("/agents/", body)
    assert answer.status == 422
    assert answer.detail.startswith("body: ")


def test_a_nul_character_is_422_where_an_escaped_backslash_is_not(api: Api) -> None:
    assert "U+0000" in api.post("/blocks/", b'{"label": "a", "value": "x\\u0000y"}').detail
    assert api.post("/blocks/", b'{"label": "a", "value": "x\\\\u0000y"}').ok()["value"] == "x\\u0000y"
    assert api.get("/agents/?name=%00").status == 422


def test_unknown_fields_are_passed_over(api: Api) -> None:
    body = {"model": "scripted/demo", "from_template": None, "something_new": {"a": 1}}
    assert api.post("/agents/", body).status == 200


def test_an_unknown_route_is_404_and_a_wrong_method_405(api: Api) -> None:
    answer = api.get("/nope")
    assert (answer.status, answer.json) == (404, {"detail": "Not Found"})
    assert Api(None).get("/").status == 404
    refused = api.put("/agents/")
    assert (refused.status, refused.json) == (405, {"detail": "Method Not Allowed"})
    assert set(refused.response["Allow"].split(", ")) == {"GET", "POST"}


@pytest.mark.parametrize(
    "path", ["/agents", "/agents/", "/blocks", "/blocks/", "/models", "/models/embedding/", "/tags"]
)
def test_a_route_is_found_with_and_without_its_last_slash(api: Api, path: str) -> None:
    assert api.get(path).status == 200


def test_a_post_without_the_last_slash_is_not_redirected(api: Api) -> None:
    assert api.post("/blocks", {"label": "a", "value": "b"}).status == 200
    assert api.post("/agents", {"model": "scripted/demo"}).status == 200


class TestKeys:
    def key(self, tenant: Tenant, **fields: Any) -> Api:
        _, secret = create_api_key(tenant.organization, tenant.user, NewKey(name="k", **fields))
        return Api(secret)

    def test_a_reading_key_reads_only(self, tenant: Tenant) -> None:
        reader = self.key(tenant, scopes=[Scope.READ])
        assert reader.get("/agents/").status == 200
        refused = reader.post("/blocks/", {"label": "a", "value": "b"})
        assert (refused.status, "write" in refused.detail) == (403, True)
        assert reader.post("/passages/search", {"query": "x"}).status == 200

    def test_a_writing_key_writes_only(self, tenant: Tenant) -> None:
        writer = self.key(tenant, scopes=[Scope.WRITE])
        assert writer.get("/agents/").status == 403
        assert writer.post("/blocks/", {"label": "a", "value": "b"}).status == 200

    def test_an_expired_or_revoked_key_is_401(self, tenant: Tenant) -> None:
        assert self.key(tenant, expires_at=now() - timedelta(seconds=1)).get("/agents/").status == 401
        row, secret = create_api_key(tenant.organization, tenant.user, NewKey(name="k"))
        revoke_api_key(row)
        answer = Api(secret).get("/agents/")
        assert (answer.status, answer.response["WWW-Authenticate"]) == (401, "Bearer")

    def test_what_is_made_belongs_to_the_project_of_the_header(self, tenant: Tenant, api: Api) -> None:
        project = Project.objects.create(organization=tenant.organization, name="P")
        header = {"X-Project-Id": project.pk}
        made = api.post("/agents/", {"model": "scripted/demo"}, headers=header).ok()
        assert made["project_id"] == project.pk
        other = api.post("/agents/", {"model": "scripted/demo"}).ok()
        assert other["project_id"] is None
        assert [a["id"] for a in api.get("/agents/", headers=header).ok()] == [made["id"]]
        assert [a["id"] for a in api.get("/agents/", project_id=project.pk).ok()] == [made["id"]]
        assert len(api.get("/agents/").ok()) == 2

    def test_another_organizations_project_is_404(self, tenant: Tenant, stranger: Tenant, api: Api) -> None:
        project = Project.objects.create(organization=stranger.organization, name="P")
        for project_id in (project.pk, "nonsense"):
            assert api.get("/agents/", headers={"X-Project-Id": project_id}).status == 404
        assert api.post("/agents/", {"model": "scripted/demo", "project_id": project.pk}).status == 404
        assert api.post("/blocks/", {"label": "a", "value": "b", "project_id": project.pk}).status == 404

    def test_a_key_of_one_project_cannot_speak_for_another(self, tenant: Tenant) -> None:
        mine, other = (Project.objects.create(organization=tenant.organization, name=name) for name in "AB")
        bound = self.key(tenant, project=mine)
        assert bound.post("/agents/", {"model": "scripted/demo"}).ok()["project_id"] == mine.pk
        assert bound.get("/agents/", headers={"X-Project-Id": mine.pk}).status == 200
        assert bound.get("/agents/", headers={"X-Project-Id": other.pk}).status == 403


def handlers_of() -> NinjaAPI:
    from config.api import api

    return api


class TestHandlers:
    """Failures that no route makes on purpose, through the same handlers."""

    def shown(self, exc: Exception) -> tuple[int, Any]:
        response = handlers_of().on_exception(RequestFactory().get("/v1/agents/"), exc)
        return response.status_code, orjson.loads(response.content)

    def test_a_providers_failure_keeps_its_class_and_message(self) -> None:
        status, body = self.shown(RateLimited("slow down", retry_after=2.4))
        assert status == 429
        assert body["error"] == {"type": "llm_rate_limit", "message": "slow down", "detail": "slow down"}

    def test_an_unexpected_failure_tells_nothing_and_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        status, body = self.shown(RuntimeError("the inside of the house"))
        assert (status, body["detail"]) == (500, "An unknown error occurred")
        assert body["trace_id"] in caplog.text
        assert "the inside of the house" in caplog.text
        assert "house" not in orjson.dumps(body).decode()

    def test_a_database_that_is_away_is_503_and_a_deadlock_409(self) -> None:
        assert self.shown(OperationalError("connection refused"))[0] == 503
        deadlock = OperationalError("deadlock detected")
        deadlock.__cause__ = DeadlockDetected()
        assert self.shown(deadlock)[0] == 409

    def test_an_error_of_the_application_may_carry_more(self) -> None:
        status, body = self.shown(Conflict("busy", extra={"run_id": "run-1"}, detail={"code": "X"}))
        assert (status, body) == (409, {"detail": {"code": "X"}, "run_id": "run-1"})
