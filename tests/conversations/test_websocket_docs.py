"""The examples of docs/websocket.md are frames that the server takes and sends."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from agents.events import EVENT
from conversations import ws_frames
from conversations.ws_frames import Accepted, Close, Ended, ErrorFrame, EventFrame, Hello, Pong, Resync

DOCS = (Path(__file__).resolve().parents[2] / "docs" / "websocket.md").read_text()
SERVER_FRAMES = (Accepted, Ended, ErrorFrame, EventFrame, Hello, Pong, Resync)


def examples(side: str) -> list[str]:
    return re.findall(rf"```json {side}\n(.*?)\n```", DOCS, re.DOTALL)


@pytest.mark.parametrize("example", examples("client"))
def test_an_example_of_a_client_is_taken(example: str) -> None:
    command = ws_frames.read(example)
    assert command.type == json.loads(example)["type"]


@pytest.mark.parametrize("example", examples("server"))
def test_an_example_of_the_server_has_the_fields_that_are_sent(example: str) -> None:
    shown = json.loads(example)
    model = next(frame for frame in SERVER_FRAMES if frame.model_fields["type"].default == shown["type"])
    assert set(shown) == set(model.model_fields)
    assert model.model_validate(shown).model_dump() == shown
    if model is EventFrame:
        EVENT.validate_python(shown["event"])


def test_every_frame_and_every_close_code_is_documented() -> None:
    shown = {json.loads(example)["type"] for side in ("client", "server") for example in examples(side)}
    assert shown == {*ws_frames.COMMANDS, *(frame.model_fields["type"].default for frame in SERVER_FRAMES)}
    assert all(re.search(rf"^\| .*\b{int(code)}\b", DOCS, re.MULTILINE) for code in Close)


def test_every_event_is_documented() -> None:
    kinds = set(re.findall(r'"const": "(\w+)"', json.dumps(EVENT.json_schema())))
    undocumented = {kind for kind in kinds if f"`{kind}`" not in DOCS}
    assert undocumented == {"run_ended"}, "the last event is the frame `ended`"
