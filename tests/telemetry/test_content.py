"""What the organization's policy, and nothing else, lets onto the disk."""

import time
import uuid
from dataclasses import replace

import orjson
import pytest
from django.core.exceptions import ValidationError

from core.time import now
from providers.clients.base import Credential
from telemetry import content, segments
from telemetry.masking.expressions import refusal
from telemetry.models import TracePolicy
from telemetry.recorder import Recorder
from telemetry.trace import COLUMNS, CallEnd, CallStart

REQUEST = orjson.dumps({"messages": [{"role": "user", "content": "I am bob@example.com"}]})
RESPONSE = orjson.dumps({"content": "Call +49 30 1234567"})
NO_SHAPE = "my-own-gateway-word"
CREDENTIAL = Credential(
    provider_type="openai",
    api_key=NO_SHAPE,
    base_url="https://operator:pass%2Fword9@gateway.example/v1?sig=query-secret",
    headers=(("X-Gateway", "header-secret"), ("User-Agent", "perennial")),
)


@pytest.fixture
def recorder(tmp_path):
    spool = Recorder(tmp_path / "spool")
    yield spool
    spool.close()


@pytest.fixture(autouse=True)
def _fresh():
    content._known.clear()
    yield
    content._known.clear()


def start_of(organization_id, **given):
    known = {
        "id": str(uuid.uuid4()),
        "organization_id": organization_id,
        "call_type": "agent_step",
        "provider": "openai",
        "model": "m",
        "created_at": now(),
        "request_json": REQUEST,
    }
    return CallStart(**(known | given))


def written(recorder, start, end):
    """The row by name, the payloads, and every byte of the spool."""
    recorder.begin(start).finish(end)
    recorder.flush()
    data = b"".join(p.read_bytes() for p in segments.listed(recorder.directory, segments.SEALED))
    *_, last = segments.records(data)
    lengths, row, _ = last.parse()
    return dict(zip(COLUMNS, row, strict=True)), last.payloads(lengths), data


def policy(tenant, **given):
    row, _ = TracePolicy.objects.update_or_create(organization=tenant.organization, defaults=given)
    content.forget(tenant.organization.pk)
    return row


def test_without_a_policy_the_installations_setting_holds(tenant, recorder, settings):
    settings.TRACE_CONTENT = "full"
    row, payloads, _ = written(recorder, start_of(tenant.organization.pk), CallEnd(response_json=RESPONSE))
    assert (row["content"], payloads[:2]) == ("full", [REQUEST, RESPONSE])


def test_masked_calls_keep_their_shape_and_their_size_and_no_personal_data(tenant, recorder):
    policy(tenant, content="masked")
    row, payloads, _ = written(recorder, start_of(tenant.organization.pk), CallEnd(response_json=RESPONSE))
    assert orjson.loads(payloads[0])["messages"][0]["content"] == "I am [email]"
    assert orjson.loads(payloads[1]) == {"content": "Call [phone]"}
    assert (row["content"], row["request_size_bytes"], row["response_size_bytes"]) == (
        "masked",
        len(REQUEST),
        len(RESPONSE),
    )


def test_kinds_and_own_expressions_are_the_organizations_choice(tenant, recorder):
    rules = [{"name": "name", "pattern": r"I am"}]
    policy(tenant, content="masked", masked_kinds=["phone"], custom_rules=rules)
    _, payloads, _ = written(recorder, start_of(tenant.organization.pk), CallEnd(response_json=RESPONSE))
    assert orjson.loads(payloads[0])["messages"][0]["content"] == "[name] bob@example.com"


def test_metadata_keeps_the_sizes_and_nothing_that_was_said(tenant, recorder):
    policy(tenant, content="metadata")
    end = CallEnd(response_json=RESPONSE, error_type="llm_bad_request", error_message="bad value 'bob@example.com'")
    row, payloads, data = written(recorder, start_of(tenant.organization.pk), end)
    assert payloads[:2] == [b"", b""]
    assert (row["content"], row["request_size_bytes"], row["response_size_bytes"]) == (
        "metadata",
        len(REQUEST),
        len(RESPONSE),
    )
    assert row["error_message"] == "bad value '[email]'"
    assert b"bob@" not in data
    assert b"1234567" not in data


@pytest.mark.parametrize("mode", ["full", "masked", "metadata"])
def test_keys_headers_and_addresses_reach_the_disk_in_no_mode(tenant, recorder, mode):
    policy(tenant, content=mode)
    shaped = "sk-proj-Abcd1234Efgh5678Ijkl9999"
    credential = replace(CREDENTIAL, api_key=shaped)
    said = f"Wrong key {shaped} ({NO_SHAPE}), sent header-secret to {credential.base_url} with pass/word9"
    start = start_of(
        tenant.organization.pk,
        request_json=orjson.dumps({"messages": [{"content": said}]}),
        llm_config={"model": "m", "model_endpoint": credential.base_url},
        secrets=(*credential.secrets, *CREDENTIAL.secrets),
    )
    end = CallEnd(response_json=orjson.dumps({"error": said}), error_type="llm_authentication", error_message=said)
    row, payloads, data = written(recorder, start, end)
    for secret in (shaped, NO_SHAPE, "header-secret", "pass%2Fword9", "pass/word9", "operator", "query-secret"):
        assert secret.encode() not in data
    assert orjson.loads(payloads[2])["model_endpoint"] == "https://gateway.example/v1"
    assert row["error_message"].startswith("Wrong key [secret")
    assert all(not p or orjson.loads(p) for p in payloads)
    assert "secrets=" not in repr(start)
    assert b"perennial" not in b"".join(s.encode() for s in CREDENTIAL.secrets)


def test_a_change_acts_within_five_seconds_without_being_told(tenant, monkeypatch):
    policy(tenant, content="full")
    assert content.policy_of(tenant.organization.pk).content == "full"
    TracePolicy.objects.filter(organization=tenant.organization).update(content="metadata")
    assert content.policy_of(tenant.organization.pk).content == "full"
    clock = time.monotonic() + content.ROWS_TTL_S
    monkeypatch.setattr(content.time, "monotonic", lambda: clock)
    assert content.policy_of(tenant.organization.pk).content == "metadata"


def test_a_policy_costs_no_query_while_it_is_known(tenant, django_assert_num_queries):
    policy(tenant, content="masked")
    with django_assert_num_queries(1):
        for _ in range(5):
            content.policy_of(tenant.organization.pk)


def test_another_organizations_policy_is_its_own(tenant, stranger):
    policy(tenant, content="metadata")
    assert content.policy_of(stranger.organization.pk).content == "full"


def test_what_cannot_be_masked_is_not_kept(tenant, recorder):
    policy(tenant, content="masked", custom_rules=[{"name": "slow", "pattern": "(?:a|aa)+[bc]"}])
    request = orjson.dumps({"text": "a" * 5000 + "d bob@example.com"})
    row, payloads, data = written(recorder, start_of(tenant.organization.pk, request_json=request), CallEnd())
    assert (row["content"], payloads[0]) == ("metadata", b"")
    assert b"bob@" not in data


class Names:
    """Stands for Presidio."""

    def spans(self, text):
        at = text.find("I am")
        return [(at, at + 4, "PERSON")] if at >= 0 else []


def test_an_analyzer_is_used_where_the_organization_switched_it_on(tenant, recorder, settings):
    settings.TRACE_ANALYZER = f"{__name__}.Names"
    import sys

    sys.modules.setdefault(__name__, sys.modules[Names.__module__])
    policy(tenant, content="masked", use_analyzer=True)
    _, payloads, _ = written(recorder, start_of(tenant.organization.pk), CallEnd(response_json=RESPONSE))
    assert orjson.loads(payloads[0])["messages"][0]["content"] == "[person] [email]"


def test_an_analyzer_that_is_not_there_is_found_before_the_start_and_lets_nothing_through(tenant, recorder, settings):
    from telemetry.checks import check_analyzer

    settings.TRACE_ANALYZER = "no.such.Analyzer"
    [problem] = check_analyzer(None)
    assert problem.id == "telemetry.E004"
    settings.TRACE_ANALYZER = "presidio"
    [problem] = check_analyzer(None)
    assert "requirements-presidio.txt" in problem.msg
    policy(tenant, content="masked", use_analyzer=True)
    row, payloads, _ = written(recorder, start_of(tenant.organization.pk), CallEnd(response_json=RESPONSE))
    assert (row["content"], payloads[:2]) == ("metadata", [b"", b""])
    settings.TRACE_ANALYZER = ""
    assert check_analyzer(None) == []


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ([{"name": "ok", "pattern": r"CASE-\d+"}], ""),
        ("x", "list"),
        ([{"name": "a", "pattern": "x"}] * 21, "20"),
        ([{"name": "a", "pattern": "x"}] * 2, "one name"),
        ([{"name": "A b", "pattern": "x"}], "no name"),
        ([{"name": "a", "pattern": "x" * 201}], "200"),
        ([{"name": "a", "pattern": "("}], "no regular expression"),
        ([{"name": "a", "pattern": "x*"}], "where nothing stands"),
        ([{"name": "a", "pattern": r"(?:a|aa)+[!]y"}], "runs away"),
    ],
)
def test_an_expression_that_could_do_harm_is_refused_with_the_mend(rules, said):
    assert said in refusal(rules)
    assert bool(refusal(rules)) == bool(said)


def test_days_are_at_most_the_installations(tenant, settings):
    settings.TRACE_RETENTION_DAYS, settings.PAYLOAD_RETENTION_DAYS = 90, 30
    TracePolicy(organization=tenant.organization, trace_days=90, payload_days=30).full_clean()
    with pytest.raises(ValidationError) as refused:
        TracePolicy(organization=tenant.organization, trace_days=91, payload_days=0, use_analyzer=True).full_clean()
    assert set(refused.value.message_dict) == {"trace_days", "payload_days", "use_analyzer"}
