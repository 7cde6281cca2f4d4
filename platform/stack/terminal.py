"""What a person sees while things start: one line a step, with its time; progress; then the processes' own words."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

COLOURS = ("36", "35", "33", "34", "32", "31")


class Terminal:
    """Safe to write to from several threads. Colours and moving lines only where a person looks."""

    def __init__(self, out: TextIO | None = None) -> None:
        self.out = out or sys.stdout
        self.lively = self.out.isatty()
        self._lock = threading.Lock()
        self._moving = False
        self._told: dict[str, int] = {}
        self._colours: dict[str, str] = {}

    def say(self, text: str = "") -> None:
        with self._lock:
            self._clear()
            print(text, file=self.out, flush=True)

    def done(self, text: str, seconds: float | None = None) -> None:
        self.say(f"  {self.paint('✓', '32')} {text}" + ("" if seconds is None else f"  {seconds:.1f} s"))

    def failed(self, text: str) -> None:
        self.say(f"  {self.paint('✗', '31')} {text}")

    def note(self, text: str) -> None:
        self.say(f"    {text}")

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.done(text, time.monotonic() - began)

    def progress(self, title: str, there: int, all_: int) -> None:
        """Megabytes. A person sees the line move; a log gets every quarter."""
        text = f"    {title}: {there} of {all_} MB"
        with self._lock:
            if self.lively:
                self.out.write(f"\r\033[K{text}")
                self.out.flush()
                self._moving = True
            elif self._told.get(title, 0) < (quarter := 4 * there // max(all_, 1)):
                self._told[title] = quarter
                print(text, file=self.out, flush=True)

    def line(self, name: str, text: str) -> None:
        """One line of a process's log, under its name."""
        colour = self._colours.setdefault(name, COLOURS[len(self._colours) % len(COLOURS)])
        self.say(f"{self.paint(f'{name:>8} |', colour)} {text}")

    def paint(self, text: str, colour: str) -> str:
        return f"\033[{colour}m{text}\033[0m" if self.lively else text

    def _clear(self) -> None:
        if self._moving:
            self.out.write("\r\033[K")
            self._moving = False
