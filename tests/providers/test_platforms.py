"""Azure, Bedrock and Vertex: other vendors' words by addresses, credentials and streams of their own.

None of the three can be reached from here: servers on the loopback take their place.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from providers import pricing, usage_extract
from providers.clients.aws import Signer, frames
from providers.clients.azure import endpoint
from providers.clients.base import Credential, client_for, close_all
from providers.clients.sse import payloads
from providers.embeddings import embed
from providers.entries import base_entries
from providers.errors import (
    AuthenticationFailed,
    BadRequest,
    BadResponse,
    BedrockPermissionDenied,
    ContextWindowExceeded,
    ProviderError,
    RateLimited,
)
from providers.events import Finished, ModelEvent
from providers.listing import models_of
from providers.resolve import _with_dialect, warm_up
from providers.types import Message, ModelRequest, TextPart
from providers.usage import Usage
from tests.providers.fake_server import FakeServer, Reply
from tests.support.aws import carried, frame
from tests.support.vendor import _stream

REPLY = Path(__file__).parent / "golden" / "replies" / "anthropic_thinking_and_calls.sse"
GEMINI = REPLY.with_name("google_thinking_and_calls.sse")
MODEL = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
ARN = "arn:aws:bedrock:us-east-1:1:application-inference-profile/abc"
ASKED = ModelRequest(model=MODEL, messages=(Message("user", (TextPart("Hi"),)),))
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    close_all()


def bedrock(server: FakeServer, **more: Any) -> Credential:
    given = {"access_key": "AKIDEXAMPLE", "api_key": "aws-secret-key-1234", "region": "us-east-1", **more}
    return Credential(provider_type="bedrock", base_url=server.url, **given)


def ask(credential: Credential, asked: ModelRequest = ASKED) -> list[ModelEvent]:
    return list(client_for(credential).stream(asked))


def finished(events: list[ModelEvent]) -> Finished:
    assert isinstance(events[-1], Finished)
    return events[-1]


def test_requests_are_signed_as_aws_publishes_and_its_library_does() -> None:
    """The first is `get-vanilla` of AWS's own examples; the second is botocore 1.44.8's output."""
    published = Signer("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "us-east-1", "service")
    made = published.sign("GET", "https://example.amazonaws.com/", b"", datetime(2015, 8, 30, 12, 36, tzinfo=UTC))
    assert made["Authorization"].endswith("=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31")
    signer = Signer("AKIDEXAMPLE", "secret/+x", "us-east-1", "bedrock", {"X-Amz-Security-Token": "TOKEN=="})
    lists = "https://bedrock.us-east-1.amazonaws.com/foundation-models?byOutputModality=TEXT&byProvider=anthropic"
    made = signer.sign("GET", lists, b"", AT)
    assert made["Authorization"].endswith("=a7186d9e3d03a97c1438d9f270581c546158c6644c66d50f31aa3d37e34a1ec6")
    assert "secret/+x" not in repr(signer)


def test_bedrock_carries_anthropics_events(fake_server: FakeServer) -> None:
    events = list(payloads([REPLY.read_bytes()]))
    fake_server.replies = [Reply(stream=carried(*events)), Reply(stream=REPLY.read_bytes())]
    said = ask(bedrock(fake_server))
    plain = ask(Credential(provider_type="anthropic", base_url=fake_server.url, api_key="sk-ant-1"))
    assert said == plain
    path = f"/model/{MODEL}/invoke-with-response-stream"
    assert fake_server.paths[0] == path
    sent, headers = fake_server.sent[0], fake_server.headers[0]
    assert (sent["anthropic_version"], "model" in sent, "stream" in sent) == ("bedrock-2023-05-31", False, False)
    assert headers.keys().isdisjoint({"x-api-key"})
    signer = Signer("AKIDEXAMPLE", "aws-secret-key-1234", "us-east-1", "bedrock")
    at = datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    body = client_for(bedrock(fake_server)).request_body(ASKED)
    assert headers["authorization"] == signer.sign("POST", fake_server.url + path, body, at)["Authorization"]


def test_bedrock_takes_its_own_api_keys_session_tokens_and_addresses_with_slashes(fake_server: FakeServer) -> None:
    fake_server.replies = [Reply(stream=carried(*payloads([REPLY.read_bytes()])))]
    ask(bedrock(fake_server, access_key="", api_key="bedrock-api-key-1"), replace(ASKED, model=ARN))
    assert fake_server.headers[0]["authorization"] == "Bearer bedrock-api-key-1"
    assert fake_server.paths[0] == f"/model/{quote(ARN, safe=':')}/invoke-with-response-stream"
    ask(bedrock(fake_server, headers=(("X-Amz-Security-Token", "session-token"),)))
    headers = fake_server.headers[1]
    assert headers["x-amz-security-token"] == "session-token"
    assert "SignedHeaders=host;x-amz-date;x-amz-security-token," in headers["authorization"]


@pytest.mark.parametrize(
    ("status", "kind", "message", "error"),
    [
        (
            403,
            "AccessDeniedException",
            "User is not authorized to perform bedrock:InvokeModel",
            BedrockPermissionDenied,
        ),
        (403, "UnrecognizedClientException", "The security token is invalid.", AuthenticationFailed),
        (429, "ThrottlingException", "Too many requests", RateLimited),
        (400, "ValidationException", "Input is too long for requested model.", ContextWindowExceeded),
        (400, "ValidationException", "on-demand throughput isn't supported", BadRequest),
    ],
)
def test_bedrocks_refusals_are_told_apart(
    fake_server: FakeServer, status: int, kind: str, message: str, error: type[ProviderError]
) -> None:
    fake_server.replies = [Reply({"message": message}, status, headers={"x-amzn-ErrorType": f"{kind}:http://x/"})]
    with pytest.raises(ProviderError, match=message.replace(".", r"\.")) as caught:
        ask(bedrock(fake_server))
    assert type(caught.value) is error
    if error is BedrockPermissionDenied:
        assert (caught.value.status, caught.value.error_type) == (403, "bedrock_permission_denied")


def test_an_exception_within_bedrocks_stream_is_a_failure_and_damage_is_seen(fake_server: FakeServer) -> None:
    throttled = frame(b'{"message": "Slow down"}', message_type="exception", exception_type="throttlingException")
    events = carried(*payloads([REPLY.read_bytes()]))
    fake_server.replies = [Reply(stream=throttled)]
    with pytest.raises(RateLimited, match="Slow down"):
        ask(bedrock(fake_server))
    for broken in (events[:40] + b"!" + events[41:], b"data: {}\n\n" * 3):
        with pytest.raises(BadResponse):
            list(frames([broken]))
    whole = list(frames([events]))
    assert list(frames([events[n : n + 7] for n in range(0, len(events), 7)])) == whole


def test_bedrock_lists_what_is_called_directly_and_by_profile(fake_server: FakeServer) -> None:
    models = [
        {"modelId": "anthropic.claude-3-haiku-20240307-v1:0", "inferenceTypesSupported": ["ON_DEMAND"]},
        {"modelId": MODEL.removeprefix("us."), "inferenceTypesSupported": ["INFERENCE_PROFILE"]},
        {"modelId": "amazon.nova-canvas-v1:0", "outputModalities": ["IMAGE"]},
        {"modelId": "amazon.nova-pro-v1:0", "outputModalities": ["TEXT"], "modelName": "Nova Pro"},
        {"modelId": "amazon.titan-embed-text-v2:0", "outputModalities": ["EMBEDDING"]},
        {"modelId": "amazon.nova-sonic-v1:0", "outputModalities": ["SPEECH", "TEXT"]},
    ]
    profiles = [
        {"inferenceProfileId": MODEL, "inferenceProfileName": "US Claude"},
        {"inferenceProfileId": "us.stability.stable-style-v1:0"},
    ]
    fake_server.decide = lambda path, body: Reply(
        {"modelSummaries": models} if "foundation" in path else {"inferenceProfileSummaries": profiles}
    )
    found = client_for(bedrock(fake_server)).list_models()
    assert [(info.name, info.kind, info.context_window) for info in found] == [
        (models[0]["modelId"], "llm", 200_000),
        ("amazon.nova-pro-v1:0", "llm", 300_000),
        ("amazon.titan-embed-text-v2:0", "embedding", found[2].context_window),
        (MODEL, "llm", 200_000),
    ]
    assert (found[1].display_name, found[2].embedding_dim, found[3].display_name) == ("Nova Pro", 1024, "US Claude")


def cost(provider_type: str, model: str, response: dict[str, Any]) -> Decimal | None:
    terms = usage_extract.terms(provider_type, response)
    bought = pricing.Purchase(provider_type=provider_type, model=terms.model or model, at=AT, region=terms.region)
    found = pricing.price(Usage(input=1_000_000), bought)
    assert found.confidence == "listed"
    return found.cost_usd


def test_prices_differ_by_place() -> None:
    assert cost("bedrock", MODEL, {}) == Decimal("3.3")
    assert cost("bedrock", MODEL.replace("us.", "global."), {}) == Decimal(3)
    claude = "claude-opus-4-5@20251101"
    assert cost("google_vertex", claude, {"location": "europe-west1"}) == Decimal("5.5")
    assert cost("google_vertex", claude, {"location": "global"}) == Decimal(5)
    here = {"location": "europe-west1"}
    assert cost("google_vertex", "gemini-2.5-flash", here) == cost("google_vertex", "gemini-2.5-flash", {})
    assert cost("azure", "our-own-name", {"model": "gpt-4o-2024-08-06"}) == Decimal("2.5")


@pytest.fixture(scope="module")
def account() -> dict[str, str]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    return {"type": "service_account", "project_id": "ours", "private_key_id": "0123456789abcdef", "private_key": pem}


def vertex(server: FakeServer, account: dict[str, str], **more: Any) -> Credential:
    info = {**account, "client_email": "a@ours.example", "token_uri": f"{server.url}/token"}
    given = {"api_key": json.dumps(info), "region": "europe-west1", "base_url": server.url, **more}
    return Credential(provider_type="google_vertex", **given)


def google(path: str, body: Any) -> Reply:
    if path == "/token":
        return Reply({"access_token": "ya29.token", "expires_in": 3600, "token_type": "Bearer"})
    if "/publishers/google/models?" in path:
        return Reply(
            {
                "publisherModels": [
                    {"name": f"publishers/google/models/{m}"} for m in ("gemini-2.5-pro", "veo-3", "text-embedding-005")
                ]
            }
        )
    if "/publishers/anthropic/models?" in path:
        row = {"name": "publishers/anthropic/models/claude-opus-4-5", "versionId": "20251101"}
        return Reply({"publisherModels": [row]})
    return Reply(stream=GEMINI.read_bytes() if "/google/" in path else REPLY.read_bytes())


def test_vertex_has_both_vendors_models_by_one_account(fake_server: FakeServer, account: dict[str, str]) -> None:
    fake_server.decide = google
    credential = vertex(fake_server, account)
    listed = [(info.name, info.embedding_dim) for info in client_for(credential).list_models()]
    assert listed == [("gemini-2.5-pro", None), ("text-embedding-005", 768), ("claude-opus-4-5@20251101", None)]
    gemini = finished(ask(credential, replace(ASKED, model="gemini-2.5-pro")))
    claude = replace(ASKED, model="claude-opus-4-5@20251101")
    answer = finished(ask(_with_dialect(credential, claude.model), claude))
    finished(ask(_with_dialect(credential, claude.model), claude))
    assert gemini.response["location"] == answer.response["location"] == "europe-west1"
    assert (gemini.usage.output, answer.usage.output) == (50, 89)
    publishers = "/v1/projects/ours/locations/europe-west1/publishers"
    asked = [path for path in fake_server.paths if path.startswith("/v1/")]
    assert asked == [
        f"{publishers}/google/models/gemini-2.5-pro:streamGenerateContent?alt=sse",
        *[f"{publishers}/anthropic/models/claude-opus-4-5@20251101:streamRawPredict"] * 2,
    ]
    assert fake_server.paths.count("/token") == 2  # one a client, kept while it holds
    called = [headers for path, headers in zip(fake_server.paths, fake_server.headers, strict=True) if path in asked]
    assert {headers["authorization"] for headers in called} == {"Bearer ya29.token"}
    assert all("x-api-key" not in headers for headers in called)
    assert fake_server.sent[-1]["anthropic_version"] == "vertex-2023-10-16"
    assert credential.fingerprint == "012…cdef"


def test_vertex_makes_vectors_by_predict_and_newer_models_by_embed_content(
    fake_server: FakeServer, account: dict[str, str]
) -> None:
    def decide(path: str, body: Any) -> Reply:
        if path == "/token":
            return google(path, body)
        if path.endswith(":embedContent"):
            return Reply({"embedding": {"values": [3.0]}, "usageMetadata": {"promptTokenCount": 7}})
        made = [float(len(one["content"])) for one in body["instances"]]
        statistics = {"truncated": False, "token_count": 4.0}
        return Reply({"predictions": [{"embeddings": {"values": [n], "statistics": statistics}} for n in made]})

    fake_server.decide = decide
    credential = vertex(fake_server, account)
    texts = ["a", "", "x" * 39_999, "bb"]
    found = embed(texts, credential=credential, model="text-embedding-005")
    assert found.vectors == [[1.0], [1.0], [39_999.0], [2.0]]
    assert found.usage == Usage(input=16)
    one_by_one = embed(texts[:2], credential=credential, model="gemini-embedding-001")
    newest = embed(["a"], credential=credential, model="gemini-embedding-2")
    assert (one_by_one.vectors, one_by_one.usage, newest.vectors, newest.usage) == (
        [[1.0], [1.0]],
        Usage(input=8),
        [[3.0]],
        Usage(input=7),
    )
    publishers = "/v1/projects/ours/locations/europe-west1/publishers/google/models"
    assert [path for path in fake_server.paths if path != "/token"] == [
        *[f"{publishers}/text-embedding-005:predict"] * 3,
        *[f"{publishers}/gemini-embedding-001:predict"] * 2,
        f"{publishers}/gemini-embedding-2:embedContent",
    ]
    assert fake_server.headers[-1]["authorization"] == "Bearer ya29.token"
    fake_server.decide = lambda path, body: google(path, body) if path == "/token" else Reply({"predictions": []})
    with pytest.raises(BadResponse, match="0 embeddings for 1 texts"):
        embed(["a"], credential=credential, model="text-embedding-005")


def test_bedrock_makes_vectors_in_titans_form_and_in_coheres(fake_server: FakeServer) -> None:
    def decide(path: str, body: Any) -> Reply:
        if "titan" in path:
            return Reply({"embedding": [float(len(body["inputText"]))], "inputTextTokenCount": 5})
        return Reply({"embeddings": {"float": [[float(len(text))] for text in body["texts"]]}})

    fake_server.decide = decide
    credential = bedrock(fake_server)
    titan = embed(["a", "bb"], credential=credential, model="amazon.titan-embed-text-v2:0")
    assert (titan.vectors, titan.usage) == ([[1.0], [2.0]], Usage(input=10))
    cohere = embed(["abcd"] * 97, credential=credential, model="us.cohere.embed-v4:0")
    assert (cohere.vectors, cohere.usage) == ([[4.0]] * 97, Usage(input=97, estimated=True))
    assert [len(sent["texts"]) for sent in fake_server.sent[2:]] == [96, 1]
    assert fake_server.paths[0] == "/model/amazon.titan-embed-text-v2:0/invoke"
    assert fake_server.headers[0]["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    with pytest.raises(BadRequest, match="no embedding model"):
        embed(["a"], credential=credential, model="amazon.nova-pro-v1:0")


def test_a_service_account_is_refused_or_unreadable_in_plain_words(
    fake_server: FakeServer, account: dict[str, str]
) -> None:
    fake_server.replies = [Reply({"error": "invalid_grant", "error_description": "Invalid JWT"}, 400)]
    with pytest.raises(AuthenticationFailed, match="invalid_grant"):
        ask(vertex(fake_server, account))
    with pytest.raises(AuthenticationFailed, match="not the JSON key"):
        client_for(vertex(fake_server, account, api_key="{}"))
    with pytest.raises(AuthenticationFailed, match="Enter the key"):  # never the operator's own account
        client_for(vertex(fake_server, account, api_key="", public_only=True))
    for place in ("", "evil.example/#"):
        with pytest.raises(BadRequest, match="region"):
            client_for(vertex(fake_server, account, region=place))


def test_a_tenants_token_address_cannot_lead_into_the_operators_network(
    fake_server: FakeServer, account: dict[str, str], settings: Any
) -> None:
    settings.PROVIDER_ALLOWED_HOSTS = []
    with pytest.raises(BadRequest, match="private network"):
        ask(vertex(fake_server, account, public_only=True))
    assert fake_server.paths == []


def azure(server: FakeServer, **more: Any) -> Credential:
    return Credential(provider_type="azure", api_key="azure-key-1234", base_url=server.url, **more)


def test_azure_calls_a_deployment_by_its_name(fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_OPENAI_AD_TOKEN", "the operators own")
    rows = [{"id": "ours", "model": "gpt-4o", "status": "succeeded"}, {"id": "gone", "model": "x", "status": "failed"}]
    rows.append({"id": "vectors", "model": "text-embedding-3-small"})

    def decide(path: str, body: Any) -> Reply:
        if "/deployments?" in path:
            return Reply({"data": rows})
        if "/embeddings" in path:
            return Reply({"data": [{"index": 0, "embedding": [1.0]}], "usage": {"prompt_tokens": 1}})
        return Reply(stream=_stream("Hello"))

    fake_server.decide = decide
    credential = azure(fake_server, api_version="2024-10-21")
    found = client_for(credential).list_models()
    assert (found[0].name, found[0].kind, found[0].context_window) == ("ours", "llm", 128_000)
    assert (found[1].kind, found[1].display_name) == ("embedding", "vectors (text-embedding-3-small)")
    assert finished(ask(credential, replace(ASKED, model="ours"))).message.text == "Hello"
    assert embed(["x"], credential=credential, model="vectors").vectors == [[1.0]]
    assert fake_server.paths == [
        "/openai/deployments?api-version=2023-03-15-preview",
        "/openai/deployments/ours/chat/completions?api-version=2024-10-21",
        "/openai/deployments/vectors/embeddings?api-version=2024-10-21",
    ]
    assert {headers["api-key"] for headers in fake_server.headers} == {"azure-key-1234"}
    assert "operators" not in str(fake_server.headers)


def test_azure_without_a_date_is_asked_by_its_present_api(fake_server: FakeServer) -> None:
    fake_server.replies = [Reply(stream=_stream("Hello"))]
    ask(azure(fake_server), replace(ASKED, model="ours"))
    assert fake_server.paths == ["/openai/v1/chat/completions"]
    assert (fake_server.sent[0]["model"], fake_server.headers[0]["api-key"]) == ("ours", "azure-key-1234")
    for given in (
        "ours.azure.com",
        "https://ours.azure.com/openai/v1/",
        "https://ours.azure.com/openai/deployments/a/b",
    ):
        assert endpoint(given) == "https://ours.azure.com"


def test_a_provider_of_the_environment_that_cannot_be_used_stops_no_worker(settings: Any) -> None:
    settings.BASE_PROVIDERS = [
        {"name": "google_vertex", "provider_type": "google_vertex", "api_key": "{}", "region": "global"},
        {"name": "azure", "provider_type": "azure", "api_key": "azure-key-1234"},
    ]
    warm_up()
    assert models_of(list(base_entries().values())) == []
