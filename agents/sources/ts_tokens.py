"""The words of TypeScript, as far as signatures and type declarations need them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from agents.sources.limits import SourceRefused

# What has no end reaches to the end of the source: looking for it again from every place would take for ever.
_TOKEN = re.compile(
    r"""(?P<skip>\s+|//[^\n]*|/\*\*/|/\*(?!\*).*?(?:\*/|\Z))
      | (?P<doc>/\*\*.*?(?:\*/|\Z))
      | (?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`(?:[^`\\]|\\.)*(?:`|\Z))
      | (?P<number>-?\d[\w.]*)
      | (?P<name>[A-Za-z_$][\w$]*)
      | (?P<sign>=>|\.\.\.|\?\.|.)""",
    re.VERBOSE | re.DOTALL,
)
_OPENING, _CLOSING = "([{<", ")]}>"
MAX_TOKENS = 20_000


@dataclass(frozen=True, slots=True)
class Token:
    """`kind`: doc, text, number, name, sign; at the end one of kind "end"."""

    kind: str
    text: str
    line: int


class Tokens:
    """Read from a place in the source onwards, one after another."""

    def __init__(self, source: str, start: int) -> None:
        self._tokens = _tokens(source, start)
        self._line = source.count("\n", 0, start) + 1
        self._read = 0
        self._ahead: list[Token] = []

    def peek(self, offset: int = 0) -> Token:
        while len(self._ahead) <= offset:
            self._read += 1
            if self._read > MAX_TOKENS:
                raise SourceRefused("The signature of the tool's function is too long: make it simpler.")
            self._ahead.append(next(self._tokens, Token("end", "", 0)))
        return self._ahead[offset]

    def next(self) -> Token:
        token = self.peek()
        self._ahead.pop(0)
        return token

    def take(self, *texts: str) -> bool:
        """Pass over the next one where it is one of these."""
        if self.peek().kind in ("text", "doc") or self.peek().text not in texts:
            return False
        self.next()
        return True

    def expect(self, text: str, where: str) -> None:
        token = self.peek()
        if not self.take(text):
            found = f"“{token.text[:40]}”" if token.text else "the end of the source"
            raise SourceRefused(f"{where}: expected “{text}”, found {found}.")

    def doc(self) -> str:
        """The JSDoc comment that stands here, "" where there is none; the last, of several."""
        found = ""
        while self.peek().kind == "doc":
            found = self.next().text
        return found

    def skip_until(self, *ends: str) -> list[Token]:
        """Everything before the first of `ends` that stands outside of brackets."""
        passed: list[Token] = []
        depth = 0
        while self.peek().kind != "end" and not (depth == 0 and self.peek().text in ends):
            token = self.next()
            if token.kind == "sign":
                depth += (token.text in _OPENING) - (token.text in _CLOSING)
            if token.kind != "doc":
                passed.append(token)
        return passed


def _tokens(source: str, start: int) -> Iterator[Token]:
    line = source.count("\n", 0, start) + 1
    for match in _TOKEN.finditer(source, start):
        kind = str(match.lastgroup)
        if kind != "skip":
            yield Token(kind, match.group(), line)
        line += match.group().count("\n")
