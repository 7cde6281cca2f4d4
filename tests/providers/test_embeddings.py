"""Texts to vectors, by server, by hashing and by the built-in model's tokenizer."""

from __future__ import annotations

import math
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.clients.base import Credential
from providers.embeddings import BATCH, embed
from providers.errors import AuthenticationFailed, BadRequest, BadResponse
from providers.minilm import MAX_TOKENS, WordPiece
from tests.providers.fake_server import FakeServer

SCRIPTED = Credential(provider_type="scripted")


def openai(url: str, key: str = "sk-test-123456") -> Credential:
    return Credential(provider_type="openai", api_key=key, base_url=url)


def dot(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def test_a_server_gives_one_vector_per_text_in_order(vendor_url: str) -> None:
    texts = [f"text number {n}" for n in range(BATCH + 3)]
    found = embed(texts, credential=openai(vendor_url), model="text-embedding-3-small")
    assert len(found.vectors) == len(texts)
    assert {len(vector) for vector in found.vectors} == {1536}
    alone = embed([texts[-1]], credential=openai(vendor_url), model="text-embedding-3-small")
    assert alone.vectors[0] == pytest.approx(found.vectors[-1])
    assert found.usage.input > alone.usage.input > 0
    assert not found.usage.estimated


def test_a_servers_refusal_is_raised_as_its_class(vendor_url: str) -> None:
    with pytest.raises(AuthenticationFailed):
        embed(["x"], credential=openai(vendor_url, "sk-bad"), model="text-embedding-3-small")


def test_no_texts_are_no_call() -> None:
    assert embed([], credential=openai("http://127.0.0.1:9"), model="m").vectors == []


def test_embeddings_out_of_order_and_in_base64_are_put_right(fake_server: FakeServer) -> None:
    rows = [{"index": 1, "embedding": "AABAQAAAgEA="}, {"index": 0, "embedding": [1.0, 2.0]}]
    fake_server.answer({"data": rows})
    found = embed(["a", "b"], credential=openai(fake_server.url), model="m")
    assert found.vectors == [[1.0, 2.0], [3.0, 4.0]]
    assert found.usage.estimated


@pytest.mark.parametrize("data", [[], [{"embedding": []}], [{"embedding": [1.0]}, {"embedding": [1.0]}]])
def test_an_answer_that_does_not_fit_is_a_failure(fake_server: FakeServer, data: list[object]) -> None:
    fake_server.answer({"data": data})
    with pytest.raises(BadResponse):
        embed(["a"], credential=openai(fake_server.url), model="m")


def test_hashed_texts_that_share_words_are_near() -> None:
    tea, again, car = embed(
        ["Ada likes green tea", "green tea", "the car is red"], credential=SCRIPTED, model="h"
    ).vectors
    assert dot(tea, again) > 0.4 > dot(tea, car)


@given(st.text(max_size=200))
def test_hashed_vectors_have_length_one_and_never_change(text: str) -> None:
    first, second = embed([text, text], credential=SCRIPTED, model="h").vectors
    assert first == second
    assert len(first) == 384
    assert math.isclose(math.sqrt(dot(first, first)), 1.0)


def test_a_vendor_without_embeddings_is_named() -> None:
    with pytest.raises(BadRequest, match="anthropic"):
        embed(["x"], credential=Credential(provider_type="anthropic", api_key="k"), model="m")


def test_a_directory_without_the_model_says_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=r"model\.onnx"):
        embed(["x"], credential=Credential(provider_type="minilm", base_url=str(tmp_path)), model="m")


@pytest.fixture(scope="module")
def words() -> WordPiece:
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "hello", "wor", "##ld", "!", "cafe", "東", "'", "t", "don"]
    return WordPiece(orjson.dumps({"model": {"vocab": {token: n for n, token in enumerate(vocab)}}}))


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("Hello WORLD!", [2, 4, 5, 6, 7, 3]),
        ("Café", [2, 8, 3]),
        ("東東", [2, 9, 9, 3]),
        ("don't", [2, 12, 10, 11, 3]),
        ("hello\u200bworld zzz", [2, 1, 1, 3]),
        ("hello\tworld\n", [2, 4, 5, 6, 3]),
        ("", [2, 3]),
        ("x" * 101, [2, 1, 3]),
    ],
)
def test_words_are_cut_into_the_longest_known_pieces(words: WordPiece, text: str, ids: list[int]) -> None:
    assert words.ids(text) == ids


def test_a_long_text_is_cut_to_what_the_model_reads(words: WordPiece) -> None:
    ids = words.ids("hello " * 1000)
    assert len(ids) == MAX_TOKENS
    assert (ids[0], ids[-1]) == (2, 3)
