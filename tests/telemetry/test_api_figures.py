"""`/api`: figures and traces for a key or a log-in, of one's own organization alone, in the shapes it describes."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import jsonschema
import pytest
from django.test import Client
from django.urls import reverse

from accounts.actions import NewKey, create_api_key
from accounts.models import Membership, Project, Scope, User
from telemetry.trace import COLUMNS, CallEnd, end_row, start_row

INSERT = f"INSERT INTO llm_traces ({', '.join(COLUMNS)}) VALUES"
AT = datetime(2026, 5, 1, 12, tzinfo=UTC)
RANGE = {"start": "2026-05-01T00:00:00Z", "end": "2026-05-03T00:00:00Z"}
FIGURES = ("usage", "latency", "errors", "cache", "byok", "unpriced")


@pytest.fixture
def calls(clickhouse, tenant, stranger, make_call):
    """Three calls of ours, one of theirs; their ids by name."""
    from telemetry.client import connect

    priced = {
        "input_tokens": 75,
        "cache_read_tokens": 25,
        "output_tokens": 10,
        "cost_usd": Decimal("0.1"),
        "price_source": "list",
    }
    given = {
        "good": (tenant, {"agent_tags": ("a", "b")}, priced | {"latency_ms": 200, "ttft_ms": 20}),
        "byok": (
            tenant,
            {"provider_category": "byok", "model": "claude", "agent_id": "agent-1"},
            priced | {"latency_ms": 400},
        ),
        "failed": (tenant, {"created_at": AT + timedelta(days=1)}, {"error_type": "Timeout"}),
        "free": (tenant, {"model": "local"}, {"input_tokens": 5}),
        "theirs": (stranger, {"model": "secret-model"}, priced),
    }
    rows = [
        [
            *start_row(
                make_call(**{"id": name, "organization_id": str(who.organization.pk), "created_at": AT} | start)
            ),
            *end_row(CallEnd(**end)),
        ]
        for name, (who, start, end) in given.items()
    ]
    client = connect(clickhouse)
    client.execute(INSERT, [list(column) for column in zip(*rows, strict=True)], columnar=True)
    client.disconnect()
    return given


class Rest:
    def __init__(self, key="", **headers):
        self.client = Client(headers=({"Authorization": f"Bearer {key}"} if key else {}) | headers)

    def get(self, path, **query):
        return self.client.get(f"/api/{path}", query)

    def ok(self, path, **query):
        response = self.get(path, **query)
        assert response.status_code == 200, response.content
        return response.json()


@pytest.fixture
def ours(tenant, calls):
    return Rest(tenant.key)


@pytest.fixture
def described():
    return Client().get("/api/schema", {"format": "json"}).json()


def log_in(user, **headers):
    rest = Rest(**headers)
    rest.client.force_login(user)
    return rest


def test_usage_is_told_by_two_dimensions_with_its_total(ours):
    found = ours.ok("usage", by="model,is_byok", **RANGE)
    assert [(g["values"], g["calls"], g["cost_usd"]) for g in found["groups"]] == [
        ({"model": "claude", "is_byok": "true"}, 1, "0.1"),
        ({"model": "gpt-x", "is_byok": "false"}, 2, "0.1"),
        ({"model": "local", "is_byok": "false"}, 1, "0"),
    ]
    assert (found["total"]["calls"], found["total"]["cost_usd"]) == (4, "0.2")
    days = ours.ok("usage", interval="day", time_zone="Europe/Lisbon", model=["gpt-x", "claude"], **RANGE)["groups"]
    assert [(d["at"], d["calls"]) for d in days] == [("2026-05-01T00:00:00+01:00", 2), ("2026-05-02T00:00:00+01:00", 1)]


def test_tags_count_once_each_and_the_total_counts_calls(ours):
    found = ours.ok("usage", by="tag", **RANGE)
    assert {g["values"]["tag"]: g["calls"] for g in found["groups"]} == {"a": 1, "b": 1, "": 3}
    assert found["total"]["calls"] == 4


def test_the_other_figures_tell_what_their_names_say(ours):
    times = ours.ok("latency", by="model", **RANGE)["groups"]
    assert {g["values"]["model"]: (g["calls"], g["p50_ms"], g["ttft_p95_ms"]) for g in times} == {
        "gpt-x": (1, 200, 20),
        "claude": (1, 400, None),
        "local": (1, 0, None),
    }
    errors = ours.ok("errors", by="model", **RANGE)
    assert [(g["values"], g["errors"]) for g in errors["groups"]] == [({"error_type": "Timeout", "model": "gpt-x"}, 1)]
    assert errors["total"]["error_rate"] == 0.25
    assert ours.ok("cache", **RANGE)["groups"][0]["cache_hit_rate"] == 50 / 205
    assert {g["values"]["is_byok"]: g["calls"] for g in ours.ok("byok", **RANGE)["groups"]} == {"true": 1, "false": 3}
    unpriced = ours.ok("unpriced", **RANGE)["groups"]
    assert [(g["values"], g["calls"]) for g in unpriced] == [({"provider": "openai", "model": "local"}, 1)]


def test_traces_are_listed_by_filters_and_in_pages(ours):
    first = ours.ok("traces", limit=3, **RANGE)
    second = ours.ok("traces", limit=3, after=first["next"], **RANGE)
    assert sorted(t["id"] for t in first["items"] + second["items"]) == ["byok", "failed", "free", "good"]
    assert second["next"] is None
    assert [t["id"] for t in ours.ok("traces", is_byok="true", agent_id="agent-1", **RANGE)["items"]] == ["byok"]
    assert [t["id"] for t in ours.ok("traces", price="unpriced", **RANGE)["items"]] == ["free"]
    assert [t["id"] for t in ours.ok("traces", min_ms=300, min_usd="0.05", **RANGE)["items"]] == ["byok"]
    one = ours.ok("traces/good")
    assert (one["cost_usd"], one["agent_tags"], one["is_byok"], one["request_json"]) == ("0.1", ["a", "b"], False, None)


def test_traces_are_found_by_words_that_were_said(ours, clickhouse, tenant):
    from telemetry.client import connect

    client = connect(clickhouse)
    said = [
        ("good", str(tenant.organization.pk), '{"messages":["Where is my\\numbrella?"]}'),
        ("byok", str(tenant.organization.pk), '{"messages":["Das ist \\u00fcber uns"]}'),
        ("theirs", "org-none", '{"messages":["umbrella"]}'),
    ]
    rows = [(name, who, AT, text, "{}", "{}") for name, who, text in said]
    columns = "id, organization_id, created_at, request_json, response_json, llm_config_json"
    client.execute(f"INSERT INTO llm_payloads ({columns}) VALUES", rows)
    client.disconnect()
    assert [t["id"] for t in ours.ok("traces", words="UMBRELLA where", **RANGE)["items"]] == ["good"]
    assert [t["id"] for t in ours.ok("traces", words="über", **RANGE)["items"]] == ["byok"]
    assert ours.ok("traces", words="umbrella sunshade", **RANGE)["items"] == []
    assert ours.get("traces", words="a b c d e f g h i", **RANGE).status_code == 422


def test_a_cost_is_explained_line_by_line(ours):
    found = ours.ok("traces/good/explanation")
    assert sum(Decimal(line["cost_usd"]) for line in found["lines"]) == Decimal(found["total_usd"]) == Decimal("0.1")
    assert found["sentences"]
    assert ours.ok("traces/free/explanation")["total_usd"] is None


def test_nothing_of_another_organization_is_found(ours):
    assert ours.get("traces/theirs").status_code == 404
    assert ours.get("traces/theirs/explanation").status_code == 404
    assert ours.ok("traces", model="secret-model", **RANGE)["items"] == []
    for figure in FIGURES:
        assert "secret-model" not in str(ours.ok(figure, by=["model"] if figure != "unpriced" else [], **RANGE))
        assert ours.ok(figure, model="secret-model", **RANGE)["groups"] == []


@pytest.mark.parametrize(
    ("path", "query", "says"),
    [
        ("usage", {"by": "model; DROP TABLE llm_traces"}, "may be one of"),
        ("usage", {"by": "model,agent,tag"}, "two at most"),
        ("usage", {"interval": "minute"}, "hour, day, week, month"),
        ("usage", {"time_zone": "Mars/Olympus"}, "Europe/Lisbon"),
        ("usage", {"order_by": "1"}, "cost_usd"),
        ("usage", {"start": "yesterday"}, "start"),
        ("usage", {"start": "2026-05-03T00:00:00Z", "end": "2026-05-01T00:00:00Z"}, "before the end"),
        ("usage", {"modell": "x"}, "no parameter"),
        ("usage", {"is_byok": "maybe"}, "true, false"),
        ("usage", {"model": "x" * 501}, "500"),
        ("traces", {"after": "'; --"}, "leave it out"),
        ("traces", {"limit": "0"}, "limit"),
        ("latency", {"interval": "hour", "start": "2020-01-01T00:00:00Z"}, "interval"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_what_can(ours, path, query, says):
    response = ours.get(path, **query)
    assert response.status_code == 422
    assert says in response.json()["detail"]
    assert response.json()["code"] == "invalid"


def test_hostile_values_find_nothing_and_harm_nothing(ours):
    for text in ("' OR 1=1 --", "\\", "{org:String}", "\t\n\r\x01", "💥", "%' UNION SELECT 1 --"):
        for name in ("model", "tag", "agent", "organization"):
            assert ours.ok("usage", **{name: text}, **RANGE)["groups"] == []
        assert ours.ok("traces", model=text, tag=text, **RANGE)["items"] == []
        assert ours.get(f"traces/{text}").status_code == 404
    assert ours.ok("usage", **RANGE)["total"]["calls"] == 4


def test_only_a_good_key_or_a_log_in_is_let_in(tenant, calls):
    for path in ("traces", "traces/good", *FIGURES):
        anonymous = Rest().get(path)
        assert (anonymous.status_code, anonymous["WWW-Authenticate"]) == (401, "Bearer")
        assert "Authorization: Bearer" in anonymous.json()["detail"]
        assert Rest("pn_false_key").get(path).status_code == 401
    reading = create_api_key(tenant.organization, tenant.user, NewKey(name="r", scopes=[Scope.READ]))[1]
    assert Rest(reading).ok("usage", **RANGE)["total"]["calls"] == 4
    writing = create_api_key(tenant.organization, tenant.user, NewKey(name="w", scopes=[Scope.WRITE]))[1]
    assert Rest(writing).get("usage").status_code == 403


def test_a_project_named_in_the_header_narrows_every_figure(tenant, stranger, calls):
    project = Project.objects.create(organization=tenant.organization, name="p")
    narrowed = Rest(tenant.key, **{"X-Project-Id": str(project.pk)})
    assert narrowed.ok("usage", **RANGE)["total"]["calls"] == 0
    assert narrowed.ok("traces", **RANGE)["items"] == []
    theirs = Project.objects.create(organization=stranger.organization, name="p")
    assert Rest(tenant.key, **{"X-Project-Id": str(theirs.pk)}).get("usage").status_code == 404


def test_operators_see_the_organization_they_stand_on(tenant, stranger, calls):
    operator = User.objects.create_user("op@example.test", None, is_staff=True)
    assert log_in(operator).get("usage").json()["detail"] == "You belong to no organization."
    Membership.objects.create(user=operator, organization=tenant.organization, role="viewer")
    assert log_in(operator).ok("usage", **RANGE)["total"]["calls"] == 4
    other = {"X-Organization-Id": str(stranger.organization.pk)}
    assert log_in(operator, **other).get("usage").status_code == 404
    Membership.objects.create(user=operator, organization=stranger.organization, role="viewer")
    assert "X-Organization-Id" in log_in(operator).get("usage").json()["detail"]
    assert log_in(operator, **other).ok("usage", **RANGE)["total"]["calls"] == 1
    standing = log_in(operator)
    standing.client.post(reverse("admin:pick_organization"), {"organization": str(stranger.organization.pk)})
    assert standing.ok("usage", **RANGE)["total"]["calls"] == 1
    User.objects.filter(pk=operator.pk).update(is_staff=False)
    assert log_in(operator).get("usage").status_code == 401


def test_superusers_see_the_whole_installation(tenant, calls):
    root = log_in(User.objects.create_superuser("root@example.test", None))
    assert root.ok("usage", by="organization", **RANGE)["total"]["calls"] == 5
    root = log_in(User.objects.get(email="root@example.test"), **{"X-Organization-Id": str(tenant.organization.pk)})
    assert root.ok("usage", **RANGE)["total"]["calls"] == 4
    lost = log_in(User.objects.get(email="root@example.test"), **{"X-Organization-Id": "org-' OR 1"})
    assert lost.get("usage").status_code == 404


def test_a_page_for_people_shows_the_same_and_loads_nothing_from_elsewhere(tenant, calls):
    user = User.objects.create_superuser("root@example.test", None)
    page = log_in(user, Accept="text/html").get("usage", **RANGE)
    assert page.status_code == 200
    text = page.content.decode()
    assert "Perennial API" in text
    assert '"calls": 5' in text.replace("&quot;", '"')
    assert 'src="http' not in text
    assert 'rel="stylesheet" href="http' not in text
    assert "ninja/swagger-ui-bundle.js" in Client().get("/api/docs").content.decode()


def test_answers_have_the_shapes_that_the_description_promises(ours, described):
    assert described["info"]["title"].startswith("Perennial")
    for path in ("traces", *FIGURES):
        shape = described["paths"][f"/api/{path}"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        document = {**shape, "components": described["components"]}
        jsonschema.validate(ours.ok(path, **RANGE), _with_nulls(document))
    for path in ("traces/{trace_id}", "traces/{trace_id}/explanation"):
        shape = described["paths"][f"/api/{path}"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        document = {**shape, "components": described["components"]}
        jsonschema.validate(ours.ok(path.format(trace_id="good")), _with_nulls(document))
    names = {p["name"] for p in described["paths"]["/api/usage"]["get"]["parameters"]}
    assert {"by", "interval", "model", "end_user", "start"} <= names


def _with_nulls(shape):
    """OpenAPI 3.0 says `nullable`; JSON Schema says it by type."""
    if isinstance(shape, list):
        return [_with_nulls(part) for part in shape]
    if not isinstance(shape, dict):
        return shape
    inner = {key: _with_nulls(part) for key, part in shape.items() if key != "nullable"}
    return {"anyOf": [inner, {"type": "null"}]} if shape.get("nullable") is True else inner


def test_asking_costs_a_handful_of_queries(ours, tenant, django_assert_max_num_queries):
    ours.ok("usage", **RANGE)
    with django_assert_max_num_queries(1):
        ours.ok("traces", **RANGE)
    with django_assert_max_num_queries(1):
        ours.ok("usage", by="agent", **RANGE)


def test_without_clickhouse_the_answer_says_what_to_do(ours, settings):
    settings.CLICKHOUSE_URL = ""
    for path in ("usage", "traces", "traces/good", "latency"):
        response = ours.get(path, **({} if "/" in path else RANGE))
        assert (response.status_code, response.json()["code"]) == (503, "telemetry_unavailable")
        assert "manage.py up" in response.json()["detail"]


def test_an_address_without_a_route_says_so_and_a_slash_too_many_does_no_harm(ours):
    assert ours.get("nothing").json()["code"] == "not_found"
    assert ours.get("usage/").status_code == 308
    assert "usage" in Client().get("/api").json()
