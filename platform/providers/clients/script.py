"""The script language of the scripted provider: what to answer, written into the user's message as `[[...]]`.

Steps are joined by `then`; each tool step ends a stage, and a stage is one answer of the model:

    [[say hello]]    [[think hmm then say hi]]    [[tool NAME {"a": 1} then say done]]
    [[tools A {..} ; B {..} then say X]]    [[bad-json-args NAME]]    [[tokens 500]]    [[usage 900 12 then say hi]]
    [[error 429]]    [[error 500 x2 then say ok]]    [[overflow]]    [[cut 3]]    [[stream-error 3]]
    [[finish length then say cut sho]]    [[refuse]]    [[empty]]

The language is the one of the team's mock vendor, so that a test can run on either.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field

_WORDS = ("the", "cat", "sat", "and", "ate", "two", "big", "red", "old", "fig")
_BROKEN_JSON = '{"broken": "json, "oops": [1, 2'
_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"\s*")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/-]*")
_NUMBER = re.compile(r"\d+")
_TIMES = re.compile(r"x(\d+)\b")


@dataclass
class Stage:
    """One answer of the model. `error` is an HTTP status; `times` how often it happens (0: always)."""

    think: str = ""
    say: str | None = None
    calls: list[tuple[str, str]] = field(default_factory=list)
    finish: str = ""
    usage: tuple[int, int] | None = None
    refuse: bool = False
    error: int = 0
    overflow: bool = False
    times: int = 0
    break_after: int | None = None
    break_by_error: bool = False


class NotAScript(Exception):
    """What stands between the brackets is something else."""


class _Reader:
    """A place in a text."""

    def __init__(self, text: str, at: int) -> None:
        self.text = text
        self.at = at

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        self.at = _SPACE.match(self.text, self.at).end()  # type: ignore[union-attr]
        found = pattern.match(self.text, self.at)
        if found:
            self.at = found.end()
        return found

    def number(self, default: int | None = None) -> int:
        found = self.match(_NUMBER)
        if found:
            return int(found[0])
        if default is None:
            raise NotAScript
        return default

    def times(self) -> int:
        found = self.match(_TIMES)
        return int(found[1]) if found else 0

    def words(self) -> str:
        """Text up to the next step or the end."""
        found = _END_OF_TEXT.search(self.text, self.at)
        if not found:
            raise NotAScript
        text, self.at = self.text[self.at : found.start()].lstrip(), found.start()
        return text

    def call(self) -> tuple[str, str]:
        name = self.match(_NAME)
        if not name:
            raise NotAScript
        self.match(_SPACE)
        if not self.text.startswith("{", self.at):
            return name[0], "{}"
        try:
            arguments, self.at = _DECODER.raw_decode(self.text, self.at)
        except ValueError:
            raise NotAScript from None
        return name[0], json.dumps(arguments, ensure_ascii=False)


def filler(count: int) -> str:
    """`count` words, each of which a stream gives as one token."""
    return " ".join(_WORDS[n % len(_WORDS)] for n in range(count))


def _say(stage: Stage, read: _Reader) -> None:
    stage.say = read.words()


def _think(stage: Stage, read: _Reader) -> None:
    stage.think = read.words()


def _tokens(stage: Stage, read: _Reader) -> None:
    stage.say = filler(read.number())


def _empty(stage: Stage, read: _Reader) -> None:
    stage.say = ""


def _refuse(stage: Stage, read: _Reader) -> None:
    stage.refuse, stage.say = True, "I can't help with that."


def _finish(stage: Stage, read: _Reader) -> None:
    stage.finish = read.words().strip()


def _usage(stage: Stage, read: _Reader) -> None:
    stage.usage = (read.number(), read.number(1))


def _error(stage: Stage, read: _Reader) -> None:
    stage.error, stage.times = read.number(), read.times()
    read.words()


def _overflow(stage: Stage, read: _Reader) -> None:
    stage.overflow, stage.times = True, read.times()


def _cut(stage: Stage, read: _Reader) -> None:
    stage.break_after, stage.times = read.number(3), read.times()


def _stream_error(stage: Stage, read: _Reader) -> None:
    _cut(stage, read)
    stage.break_by_error = True


def _tool(stage: Stage, read: _Reader) -> None:
    stage.calls.append(read.call())


def _tools(stage: Stage, read: _Reader) -> None:
    stage.calls.append(read.call())
    while read.match(_SEMICOLON):
        stage.calls.append(read.call())


def _bad_json(stage: Stage, read: _Reader) -> None:
    stage.calls.append((read.call()[0], _BROKEN_JSON))


_STEPS: dict[str, Callable[[Stage, _Reader], None]] = {
    "say": _say,
    "think": _think,
    "tokens": _tokens,
    "empty": _empty,
    "refuse": _refuse,
    "finish": _finish,
    "usage": _usage,
    "error": _error,
    "overflow": _overflow,
    "cut": _cut,
    "stream-error": _stream_error,
    "tool": _tool,
    "tools": _tools,
    "bad-json-args": _bad_json,
}
_ANY = "|".join(sorted(_STEPS, key=len, reverse=True))
_START = re.compile(rf"\[\[\s*(?=(?:{_ANY})(?:\s|\]\]))")
_STEP = re.compile(rf"({_ANY})(?=\s|\]\])")
_END_OF_TEXT = re.compile(rf"\s*\]\]|\s+then\s+(?=(?:{_ANY})(?:\s|\]\]))")
_THEN = re.compile(r"then\s+")
_END = re.compile(r"\]\]")
_SEMICOLON = re.compile(r";")


def _parse(read: _Reader) -> list[Stage]:
    stages = [Stage()]
    while True:
        step = read.match(_STEP)
        if not step:
            raise NotAScript
        if stages[-1].calls:
            stages.append(Stage())
        _STEPS[step[1]](stages[-1], read)
        if read.match(_END):
            return stages
        if not read.match(_THEN):
            raise NotAScript


def find(text: str) -> list[Stage] | None:
    """The stages of the last script in a text, or None."""
    stages, at = None, 0
    while found := _START.search(text, at):
        read = _Reader(text, found.end())
        try:
            stages, at = _parse(read), read.at
        except NotAScript:
            at = found.end()
    return stages


def stage_at(stages: list[Stage], calls_made: int, *, can_call: bool) -> Stage:
    """The stage that comes after so many tool calls; without tools, the closing one."""
    if not can_call:
        return stages[-1] if not stages[-1].calls else Stage(say="done")
    for stage in stages:
        if calls_made < len(stage.calls):
            return Stage(calls=stage.calls[calls_made:], think=stage.think, say=stage.say, usage=stage.usage)
        if not stage.calls:
            return stage
        calls_made -= len(stage.calls)
    return Stage(say="done")
