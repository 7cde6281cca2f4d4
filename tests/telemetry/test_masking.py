"""What masking finds, what it leaves alone, and that JSON stays JSON whatever is in it."""

import json
import re
import sys

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telemetry.masking import CustomRule, Masker, MaskingFailed, pieces, scan
from telemetry.masking.rules import SHAPES, Rule

ALL = Masker()
OPENAI = "sk-proj-Abcd1234Efgh5678Ijkl9999"
FOUND = {
    OPENAI: "[secret:openai …9999]",
    "sk-ant-api03-AbCdEfGhIjKlMnOpQrSt1234": "[secret:anthropic …1234]",
    "AIzaSyA1234567890abcdefghijklmnopqrstuv": "[secret:google …stuv]",
    "AKIAABCDEFGHIJKLMNOP": "[secret:aws …MNOP]",
    "ghp_abcdefghijklmnopqrstuvwxyz012345": "[secret:github …2345]",
    "xoxb-123456789012-abcdefghijkl": "[secret:slack …ijkl]",
    "sk_live_abcdefghijklmnop1234": "[secret:stripe …1234]",
    "pn_0123456789ab_abcdefghijklmnopqrstuvwxyz": "[secret:perennial …wxyz]",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl": "[secret:jwt]",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----": "[secret:private key]",
    "password=hunter22": "password=[secret]",
    "Authorization: Bearer abcdefgh12345678": "Authorization: Bearer [secret]",
    "postgres://bob:geheim12@db.example/x": "postgres://[secret:url]@db.example/x",
    "bob.o'neil+x@mail.example.com": "[email]",
    "zoë@bücher.example": "[email]",
    "+49 30 1234567": "[phone]",
    "+1 (415) 555-2671": "[phone]",
    "(415) 555-2671": "[phone]",
    "020 7946 0958": "[phone]",
    "01 23 45 67 89": "[phone]",
    "4111 1111 1111 1111": "[card]",
    "5555555555554444": "[card]",
    "3782-822463-10005": "[card]",
    "DE89 3704 0044 0532 0130 00": "[iban]",
    "GB29NWBK60161331926819": "[iban]",
    "NL91 ABNA 0417 1643 00": "[iban]",
    "203.0.113.7": "[ip]",
    "2001:db8::8a2e:370:7334": "[ip]",
    "2001:0db8:0000:0000:0000:8a2e:0370:7334": "[ip]",
    "078-05-1120": "[ssn]",
    "529.982.247-25": "[cpf]",
}
LEFT_ALONE = [
    "At 12:30:45 on 2026-11-24 the task-force met; 2026-11-24T12:30:45.123456Z.",
    "4111 1111 1111 1112 has a wrong check digit, DE89 3704 0044 0532 0130 01 as well.",
    "call_1234567890123456 in run-1b4e28ba-2fa1-41d2-883f-0016d3cca427",
    "std::vector<int>, a::b, 127.0.0.1, ::1, 1.2.3, 17.5 %, 1700000000, 1700000000000",
    "max_tokens: 4096, token: string, the key: value; password: your password",
    "me @ home, @mention, a@b",
    "https://example.com:8080/path?a=1",
    "[email] [phone] [secret:openai …9999]",
]


@pytest.mark.parametrize("planted", FOUND)
@pytest.mark.parametrize(
    "place", ["{}", "see {}, please", "({})", "“{}”", "Ä{{'x': '{}'}}", "line\n{}\nline", "a|{}|b"]
)
def test_what_is_secret_or_personal_is_replaced_and_what_stands_around_it_stays(planted, place):
    if planted.startswith("zoë") and place[0] == "Ä":
        place = "{}"
    assert ALL.text(place.format(planted)) == place.format(FOUND[planted])


@pytest.mark.parametrize("text", LEFT_ALONE)
def test_what_only_looks_like_it_is_left_alone(text):
    assert ALL.text(text) == text


def test_two_that_stand_together_are_both_replaced():
    assert ALL.text("4111 1111 1111 1111 078-05-1120") == "[card] [ssn]"
    assert ALL.text("bob@example.com,ann@example.com") == "[email],[email]"


def test_no_personal_data_shows_its_end_and_no_short_secret_does():
    for planted, shown in FOUND.items():
        assert ("…" not in shown) or (shown.startswith("[secret:") and planted.endswith(shown[-5:-1]))
    assert ALL.text("sk-abcdefgh12345678") == "[secret:openai]"


def positions(secret: str) -> dict[str, object]:
    """The same thing wherever a request can hold it."""
    return {
        "system": f"Tell nobody {secret}",
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": f"{secret} is it"}]},
            {"role": "assistant", "tool_calls": [{"function": {"arguments": json.dumps({"to": [secret], secret: 1})}}]},
            {"role": "tool", "content": json.dumps({"deep": json.dumps({"er": f"\n{secret}\t"})})},
        ],
        "metadata": {secret: {"x": [[secret]]}},
    }


@pytest.mark.parametrize("planted", [p for p in FOUND if p != "password=hunter22"])
def test_nothing_planted_anywhere_in_a_request_comes_through(planted):
    masked = ALL.payload(orjson.dumps(positions(planted)))
    hidden = planted.removeprefix("Authorization: Bearer ").removeprefix("postgres://").removesuffix("@db.example/x")
    everything = repr(unfolded(orjson.loads(masked)))
    assert hidden not in everything
    assert hidden.replace("\n", "\\n") not in everything


def unfolded(value):
    """With JSON within strings opened: nothing hides behind escapes."""
    if isinstance(value, dict):
        return {k: unfolded(v) for k, v in value.items()}
    if isinstance(value, list):
        return [unfolded(v) for v in value]
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return unfolded(json.loads(value))
        except ValueError:
            return value
    return value


def test_escapes_hide_nothing():
    raw = rb'{"a": "bob\u0040example.com", "arguments": "{\"to\": \"ann\\u0040example.com\"}", "n": 4111111111111111}'
    assert orjson.loads(ALL.payload(raw)) == {"a": "[email]", "arguments": '{"to":"[email]"}', "n": "[card]"}


def test_a_value_is_secret_by_the_name_it_stands_under():
    raw = orjson.dumps(
        {"password": "correct horse", "api_key": "x", "headers": {"Authorization": "abc"}, "token_count": "12"}
    )
    assert orjson.loads(ALL.payload(raw)) == {
        "password": "[secret]",
        "api_key": "[secret]",
        "headers": {"Authorization": "[secret]"},
        "token_count": "12",
    }


def test_kinds_can_be_switched_off():
    only_mail = Masker(frozenset({"email"}))
    assert only_mail.text(f"bob@example.com {OPENAI} 203.0.113.7") == f"[email] {OPENAI} 203.0.113.7"


def test_a_payload_without_findings_is_the_same_to_the_byte():
    raw = b'{ "a" : 1.0, "big": 123456789012345678901234567890, "text": "nothing here" }'
    assert ALL.payload(raw) is raw


def test_images_are_left_whole():
    image = "data:image/png;base64," + "4111111111111111" * 200
    raw = orjson.dumps({"image_url": {"url": image}, "text": "bob@example.com"})
    assert orjson.loads(ALL.payload(raw)) == {"image_url": {"url": image}, "text": "[email]"}


json_values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers(-(2**53), 2**53)
    | st.text() | st.sampled_from(sorted(FOUND)) | st.tuples(st.text(max_size=3), st.sampled_from(sorted(FOUND))).map("".join),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8) | st.sampled_from(sorted(FOUND)), inner, max_size=4)
    | inner.map(json.dumps),
    max_leaves=12,
)  # fmt: skip


def shape(value):
    if isinstance(value, dict):
        return [shape(v) for v in value.values()]
    if isinstance(value, list):
        return [shape(v) for v in value]
    return "leaf"


@settings(max_examples=300, deadline=None)
@given(json_values)
def test_json_stays_json_of_the_same_shape_and_masking_again_changes_nothing(value):
    raw = orjson.dumps(value)
    masked = ALL.payload(raw)
    assert shape(orjson.loads(masked)) == shape(value)
    assert orjson.loads(ALL.payload(masked)) == orjson.loads(masked)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | st.text(alphabet="0123456789 -+().:@AZaz_/=", max_size=300).map(str.encode))
def test_what_is_no_json_is_masked_as_text(raw):
    assert isinstance(ALL.payload(raw), bytes)


def test_an_organizations_own_expressions_are_named_in_the_text():
    masker = Masker(frozenset(), (CustomRule("case", r"CASE-\d{4}"),))
    assert masker.payload(b'{"a":"see CASE-1234"}') == b'{"a":"see [case]"}'


def test_an_expression_that_runs_away_costs_the_payload_and_not_the_worker():
    masker = Masker(frozenset(), (CustomRule("slow", r"(?:a|aa)+[bc]"),))
    with pytest.raises(MaskingFailed, match="too long"):
        masker.payload(orjson.dumps({"a": "a" * 5000 + " d"}))


def test_what_is_nested_too_deep_is_refused():
    with pytest.raises(MaskingFailed, match="deep"):
        ALL.payload(orjson.dumps("[" * 900 + '"bob@example.com"' + "]" * 900))


class NameFinder:
    """Stands for Presidio."""

    def spans(self, text):
        at = text.find("Ada Lovelace")
        return [(at, at + 12, "PERSON")] if at >= 0 else []


class Broken:
    def spans(self, text):
        raise RuntimeError("no model is loaded")


def test_an_analyzer_finds_what_no_rule_can():
    masker = Masker(analyzer=NameFinder())
    assert masker.text("Ada Lovelace, ada@example.com") == "[person], [email]"
    with pytest.raises(MaskingFailed, match="RuntimeError"):
        Masker(analyzer=Broken()).text("Ada Lovelace")


# Rules that can find nothing are left out (`scan`), and strings without a mark are not looked at (`pieces`)


@pytest.fixture(scope="module", autouse=True)
def _compiled():
    assert scan.problem() == ""


SHAPED = st.sampled_from([s for s in SHAPES if s.name != "private key"]).flatmap(
    lambda shape: st.from_regex(shape.pattern.pattern.split("(?!")[0], fullmatch=True)
)
NAMES = (
    "password", "pa\u017fsword", "PASSWD", "client_secret", "api-key", "APIKEY", "to\u212aen", "auth\u0131d", "id_token",
    "Authorization", "set-cookie", "access-key", "private_key", "password\n", "max_token", "tokens",
)  # fmt: skip
SIGNS = "0123456789 -+().:@AZaz_/=\"'\\\n\t,;{}[]<>&\u00e9\u00df\u03a9\u00a0\u0663\U0001f600"
GIVEN = st.tuples(
    st.sampled_from(NAMES),
    st.sampled_from(["=", ": ", ":'", '": "', "' = ", "\n:"]),
    st.sampled_from(["hunter22", "abc123def", "\u00fc123456", "[abc1]", "string", "c:\\dir\\12345"]),
).map("".join)
PLANTED = st.sampled_from(sorted(FOUND)) | st.sampled_from(LEFT_ALONE) | SHAPED | GIVEN
BENT = st.tuples(PLANTED, st.integers(0, 40), st.integers(0, 2), st.sampled_from(SIGNS)).map(
    lambda bent: bent[0][: bent[1]] + bent[3] + bent[0][bent[1] + bent[2] :]
)
TEXTS = st.lists(PLANTED | BENT | st.text(SIGNS, max_size=8), max_size=4).map("".join)
WRITERS = (
    json.dumps,
    lambda value: json.dumps(value, indent=1, ensure_ascii=False),
    lambda value: json.dumps(value).replace("/", "\\/"),
    lambda value: json.dumps(value).replace("@", "\\u0040").replace("s", "\\u0073"),
)  # fmt: skip
VALUES = st.recursive(
    TEXTS | st.sampled_from([None, True, 0.4111111111111111, 4111111111111111, 5555555555554444, 12345678901234]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(TEXTS | st.sampled_from(NAMES) | st.sampled_from("abc"), inner, max_size=3)
        | st.tuples(inner, st.sampled_from(WRITERS)).map(lambda made: made[1](made[0]))
    ),
    max_leaves=6,
)


class Nothing:
    """With an analyzer, every text is looked at."""

    def spans(self, text):
        return []


EVERY_TEXT = Masker(analyzer=Nothing())


@settings(max_examples=150, deadline=None)
@given(VALUES, st.sampled_from((*WRITERS, None)), st.booleans())
def test_whatever_is_left_out_the_masked_payload_is_the_same(value, writer, broken):
    raw = (writer(value).encode() if writer else orjson.dumps(value))[: -1 if broken else None]
    masked, wanted = ALL.payload(raw), EVERY_TEXT.payload(raw)
    if raw == reread(raw):
        assert masked == wanted
    assert reread(masked) == reread(wanted)


def reread(raw):
    try:
        return orjson.dumps(orjson.loads(raw))
    except orjson.JSONDecodeError:
        return raw


def test_letters_that_fold_to_ascii_are_known():
    every = "".join(map(chr, range(128, sys.maxunicode + 1)))
    assert set(re.findall("(?i)[a-z]", every)) == set("\u017f\u212a\u0130\u0131")


def test_each_kind_leaves_a_mark():
    assert all(scan.marks(orjson.dumps({"text": planted})) for planted in FOUND)


@pytest.mark.parametrize(
    "text",
    ["The task-force met on 2026-11-24 12:30:45, see https://example.com:8080/a?b=1 (17.5 %, 1,234 rows).",
     "run-1b4e28ba-2fa1-41d2-883f-0016d3cca427 a::b {'tokens': None} max_tokens=4096 @mention 1764000000 \u00e9 \x1b[0m"],
)  # fmt: skip
def test_ordinary_text_leaves_none(text):
    assert (
        scan.marks(orjson.dumps({"text": text, "password": {"type": "string"}, "n": 12.345678, "at": 1764000000})) == []
    )


def test_only_what_has_a_mark_is_taken_apart():
    raw = b'{"a":"\\"bob@example.com\\\\","n":4111111111111111,"b":[1.5,"nothing","ann@example.com"]}'
    found = pieces.around(raw, scan.marks(raw))
    assert [(raw[p.start : p.end], p.rules) for p in found] == [
        (b'"\\"bob@example.com\\\\"', {Rule.EMAIL}),
        (b"4111111111111111", {Rule.NUMBER}),
        (b'"ann@example.com"', {Rule.EMAIL}),
    ]
    for beside in (b'{"bob@example.com":1}', b'{"password":"x"}', b'{"pass\\u0077ord":"x"}'):
        assert pieces.around(beside, scan.marks(beside)) is None


def test_without_hyperscan_everything_is_masked_all_the_same(monkeypatch):
    monkeypatch.setattr(scan, "_scanner", None)
    monkeypatch.setattr(scan, "hyperscan", None)
    assert scan.problem() == "hyperscan is not installed"
    assert Masker().payload(b'{"a":"bob@example.com"}') == b'{"a":"[email]"}'
