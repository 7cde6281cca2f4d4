"""The console's pieces by themselves: charts, diffs, figures in words, chats from the wire."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from console.charts import nice_ceiling, stacked_bars
from console.chat import request_turns, response_turns
from console.diff import diff
from console.display import ago, compact, count, link, pretty, span, usd
from console.periods import period_of
from console.theme import NAVIGATION, UNFOLD


@pytest.mark.parametrize(
    ("amount", "said"),
    [
        (None, "unpriced"),
        (0, "$0"),
        ("1234.5", "$1,234.50"),
        ("0.5", "$0.50"),
        ("0.0042", "$0.0042"),
        ("0.000000123456", "$0.000000123"),
        ("-2", "$-2.00"),
    ],
)
def test_money_is_said_with_the_digits_that_matter(amount: Any, said: str) -> None:
    assert usd(None if amount is None else Decimal(amount)) == said


@pytest.mark.parametrize(
    ("ms", "said"),
    [(None, "–"), (0, "0 ms"), (999, "999 ms"), (3200, "3.2 s"), (125_000, "2 min 5 s"), (7_500_000, "2 h 5 min")],
)
def test_spans_are_said_in_the_unit_that_fits(ms: Any, said: str) -> None:
    assert span(ms) == said


def test_counts_have_separators_and_are_shortened_on_cards() -> None:
    assert (count(1234567), count(None), compact(1234), compact(12_345), compact(7_654_321)) == (
        "1,234,567",
        "–",
        "1,234",
        "12.3k",
        "7.65M",
    )


def test_an_id_becomes_a_link_only_where_there_is_a_page(db: None) -> None:
    agent = "agent-7f3d38af-8f1c-4e56-9d3c-2f6a1b0c4d5e"
    assert f'href="/admin/agents/agent/{agent}/change/"' in link(agent)
    assert "href" not in link("group-7f3d38af-8f1c-4e56-9d3c-2f6a1b0c4d5e")
    assert "&lt;b&gt;" in link("<b>")


def test_json_is_laid_out_and_what_is_none_is_left_as_it_is() -> None:
    assert pretty('{"a":1}') == '{\n  "a": 1\n}'
    assert pretty("not json") == "not json"
    assert pretty(b"\xff") == "�"


def test_a_period_begins_at_midnight_and_holds_whole_days() -> None:
    at = datetime(2026, 11, 24, 15, 30, tzinfo=UTC)
    week = period_of("7d", at)
    assert week.start == datetime(2026, 11, 18, tzinfo=UTC)
    assert [day.day for day in week.days] == [18, 19, 20, 21, 22, 23, 24]
    assert len(period_of("today", at).days) == 1
    assert period_of("nonsense", at) == week


def test_ago_counts_in_the_largest_unit() -> None:
    assert ago(datetime.now(UTC)) == "just now"
    assert ago(datetime(2020, 1, 1, tzinfo=UTC)).endswith(" days ago")


@pytest.mark.parametrize(
    ("value", "top"), [("0", "0"), ("0.0031", "0.004"), ("1", "1"), ("7.2", "8"), ("9.5", "10"), ("43", "50")]
)
def test_an_axis_ends_in_a_round_figure(value: str, top: str) -> None:
    assert nice_ceiling(Decimal(value)) == Decimal(top)


def test_bars_stand_on_each_other_and_add_up() -> None:
    series = {"small": [Decimal(1), Decimal(0)], "large": [Decimal(3), Decimal(8)], "none": [Decimal(0)] * 2}
    chart = stacked_bars("Spend", ["Mon", "Tue"], series)
    assert [(bar.y, bar.height, bar.colour) for bar in chart.bars] == [
        ("62.500", "37.500", 0),
        ("50.000", "12.500", 1),
        ("0.000", "100.000", 0),
    ]
    assert chart.bars[0].title == "Mon · large: $3.00 (of $4.00)"
    assert [(key.name, key.total) for key in chart.keys] == [("large", "$11.00"), ("small", "$1.00")]
    assert chart.totals == ("$4.00", "$8.00")
    assert chart.ticks == ("$8.00", "$4.00", "$0")


def test_more_series_than_colours_become_other() -> None:
    chart = stacked_bars("Spend", ["Mon"], {f"m{n}": [Decimal(n + 1)] for n in range(12)})
    assert len(chart.keys) == 8
    assert (chart.keys[-1].name, chart.keys[-1].total) == ("other", "$15.00")
    assert stacked_bars("Spend", ["Mon"], {}).empty


def test_a_diff_shows_changed_lines_with_the_changed_words_marked() -> None:
    lines = diff("one\nName: unknown.\nthree", "one\nName: Ada.\nthree\nfour")
    assert [(line.kind, "".join(text for text, _ in line.pieces)) for line in lines] == [
        ("same", "one"),
        ("removed", "Name: unknown."),
        ("added", "Name: Ada."),
        ("same", "three"),
        ("added", "four"),
    ]
    assert [text for text, marked in lines[2].pieces if marked] == ["Ada"]


def test_a_diff_of_long_texts_leaves_out_what_is_the_same() -> None:
    before = "\n".join(f"line {n}" for n in range(50))
    lines = diff(before, before.replace("line 25", "LINE 25"))
    assert len(lines) == 9
    assert lines[0].kind == "gap"
    assert diff(before, before) == []


CHAT = {
    "model": "m",
    "messages": [
        {"role": "system", "content": "Be kind."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Look:"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at":1}'}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "seen"},
    ],
}
RESPONSES = {
    "instructions": "Be kind.",
    "input": [
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "Look:"},
                {"type": "input_image", "image_url": "data:image/png;base64,AA=="},
            ],
        },
        {"type": "function_call", "call_id": "c1", "name": "look", "arguments": '{"at":1}'},
        {"type": "function_call_output", "call_id": "c1", "output": "seen"},
    ],
}
ANTHROPIC = {
    "system": [{"type": "text", "text": "Be kind."}],
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Look:"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}},
            ],
        },
        {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "look", "input": {"at": 1}}]},
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "seen"}]}],
        },
    ],
}


GOOGLE = {
    "systemInstruction": {"parts": [{"text": "Be kind."}]},
    "contents": [
        {"role": "user", "parts": [{"text": "Look:"}, {"inlineData": {"mimeType": "image/png", "data": "AA=="}}]},
        {"role": "model", "parts": [{"functionCall": {"id": "c1", "name": "look", "args": {"at": 1}}}]},
        {
            "role": "user",
            "parts": [{"functionResponse": {"id": "c1", "name": "look", "response": {"output": "seen"}}}],
        },
    ],
}
CONVERSE = {
    "system": [{"text": "Be kind."}, {"cachePoint": {"type": "default"}}],
    "messages": [
        {
            "role": "user",
            "content": [{"text": "Look:"}, {"image": {"format": "png", "source": {"bytes": "AA=="}}}],
        },
        {"role": "assistant", "content": [{"toolUse": {"toolUseId": "c1", "name": "look", "input": {"at": 1}}}]},
        {"role": "user", "content": [{"toolResult": {"toolUseId": "c1", "content": [{"text": "seen"}]}}]},
    ],
}
DIALECTS = ["chat completions", "responses", "anthropic", "google", "converse"]


@pytest.mark.parametrize("body", [CHAT, RESPONSES, ANTHROPIC, GOOGLE, CONVERSE], ids=DIALECTS)
def test_a_request_of_each_dialect_reads_as_the_same_chat(body: Any) -> None:
    turns = request_turns(body)
    assert [turn.role for turn in turns] == ["system", "user", "assistant", "tool"]
    system, user, assistant, tool = turns
    assert (system.texts, user.texts, user.images) == (["Be kind."], ["Look:"], ["data:image/png;base64,AA=="])
    assert [(c.id, c.name, c.arguments) for c in assistant.calls] == [("c1", "look", '{\n  "at": 1\n}')]
    assert [(r.call_id, r.name, r.content) for r in tool.returns] == [("c1", "look", "seen")]


@pytest.mark.parametrize(
    "body",
    [
        {"choices": [{"message": {"role": "assistant", "content": "Hi.", "reasoning_content": "Hm."}}]},
        {
            "output": [
                {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]},
                {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi."}]},
            ]
        },
        {
            "role": "assistant",
            "content": [{"type": "thinking", "thinking": "Hm.", "signature": "s"}, {"type": "text", "text": "Hi."}],
        },
        {"candidates": [{"content": {"role": "model", "parts": [{"text": "Hm.", "thought": True}, {"text": "Hi."}]}}]},
        {
            "output": {
                "message": {
                    "role": "assistant",
                    "content": [{"reasoningContent": {"reasoningText": {"text": "Hm."}}}, {"text": "Hi."}],
                }
            }
        },
    ],
    ids=DIALECTS,
)
def test_an_answer_of_each_dialect_has_its_words_and_its_reasoning(body: Any) -> None:
    turns = response_turns(body)
    assert [text for turn in turns for text in turn.texts] == ["Hi."]
    assert [text for turn in turns for text in turn.reasoning] == ["Hm."]


def test_an_image_by_address_is_never_loaded() -> None:
    [turn] = request_turns(
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": {"url": "https://elsewhere.example/x.png"}}],
                }
            ]
        }
    )
    assert turn.images == []
    assert turn.left_out == ["image by address"]


@pytest.mark.parametrize(
    "body", [None, 3, [], {}, {"messages": 3}, {"messages": [3, {"content": {"a": 1}}]}, {"choices": []}]
)
def test_what_is_no_chat_is_no_error(body: Any) -> None:
    assert request_turns(body) == []
    assert response_turns(body) == []


def test_nothing_that_the_console_serves_names_an_outside_address() -> None:
    folder = Path(__file__).parents[2] / "platform" / "console" / "static"
    files = [path for path in folder.rglob("*") if path.suffix in (".css", ".js", ".svg")]
    assert len(files) >= 5
    for path in files:
        assert "//" not in path.read_text().replace("http://www.w3.org/2000/svg", "").replace("// ", ""), path


def test_every_entry_of_the_side_bar_leads_to_a_page(db: None) -> None:
    assert UNFOLD["SIDEBAR"]["navigation"] is NAVIGATION
    items = [item for group in NAVIGATION for item in group["items"]]
    assert len(items) >= 15
    for item in items:
        assert str(item["link"](None)).startswith("/admin/"), item["title"]
