"""Which tools may be called next, which must be, and when calling them ends the run.

Pure. Rules are read from their wire form; a rule that names only tools which are not offered says nothing, but what a
missing parent guards stays closed. What counts as "the last call" is every call of the last step, since a model may
call several tools at once. A call that was refused is no call: it uses up no count and opens no way. `continue_loop`
asks for nothing here, since a turn goes on after every call that does not end it; the prompt says it to the model.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agents.prompts import sentences

_ORDERING = ("constrain_child_tools", "parent_last_tool", "conditional")


@dataclass(frozen=True, slots=True)
class Called:
    """A call that was made in this turn. `step`: calls of one step share it. `output`: the bare return text."""

    name: str
    step: int
    output: str = ""
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Allowed:
    """`tool_choice`: "auto", "required", or the one tool's name. `prefilled`: arguments by tool, fixed by rules.
    `parallel`: several calls at once slip past no rule."""

    names: tuple[str, ...]
    tool_choice: str
    prefilled: Mapping[str, Mapping[str, Any]]
    parallel: bool = True


@dataclass(frozen=True, slots=True)
class Rules:
    rules: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def parse(cls, wire: Iterable[Mapping[str, Any]] | None) -> Rules:
        return cls(tuple(wire or ()))

    def allowed(self, offered: Iterable[str], history: Sequence[Called]) -> Allowed:
        names = tuple(dict.fromkeys(offered))
        if not self.rules:
            return Allowed(names, "auto", {})
        last = _last_step(history)
        everything = set(names)
        kept = self._permitted(everything, history, last) - self._exhausted(history)
        chosen = tuple(name for name in names if name in kept)
        return Allowed(
            chosen,
            self._choice(chosen, everything, last),
            self._prefilled(chosen, last),
            parallel=not self._in_order(chosen, everything, last),
        )

    def refusals(self, calls: Sequence[str], offered: Iterable[str], history: Sequence[Called]) -> list[str | None]:
        """For each call of one step, in order: why it must not run (a text for the model), or None."""
        allowed = self.allowed(offered, history)
        counts = Counter(called.name for called in history)
        limits = self._limits()
        reasons: list[str | None] = []
        for name in calls:
            if name not in allowed.names or counts[name] >= limits.get(name, counts[name] + 1):
                reasons.append(refusal(name, [n for n in allowed.names if n != name]))
                continue
            counts[name] += 1
            reasons.append(None)
        return reasons

    def ends(self, offered: Iterable[str], history: Sequence[Called]) -> bool:
        """Whether the last step's calls end the turn. A terminal tool that failed does not, nor one that came before
        what must be called first."""
        terminal = self._tools("exit_loop")
        called = any(called.name in terminal and not called.failed for called in _last_step(history))
        return called and not self.missing(offered, history)

    def missing(self, offered: Iterable[str], history: Iterable[Called]) -> tuple[str, ...]:
        """Offered tools that must be called before the run may end, and were not."""
        done = {called.name for called in history}
        known = set(offered)
        required = dict.fromkeys(rule["tool_name"] for rule in self._of("required_before_exit"))
        return tuple(name for name in required if name in known and name not in done)

    def needs_approval(self, name: str) -> bool:
        return name in self._tools("requires_approval")

    def describe(self) -> list[str]:
        """One sentence a rule, for the prompt; the same rule twice is said once."""
        return list(dict.fromkeys(_sentence(rule) for rule in self.rules))

    def _of(self, kind: str) -> list[Mapping[str, Any]]:
        return [rule for rule in self.rules if rule["type"] == kind]

    def _tools(self, kind: str) -> set[str]:
        return {rule["tool_name"] for rule in self._of(kind)}

    def _limits(self) -> dict[str, int]:
        limits: dict[str, int] = {}
        for rule in self._of("max_count_per_step"):
            name = rule["tool_name"]
            limits[name] = min(rule["max_count_limit"], limits.get(name, rule["max_count_limit"]))
        return limits

    def _exhausted(self, history: Sequence[Called]) -> set[str]:
        counts = Counter(called.name for called in history)
        return {name for name, limit in self._limits().items() if counts[name] >= limit}

    def _permitted(self, offered: set[str], history: Sequence[Called], last: Sequence[Called]) -> set[str]:
        """A rule that permits nothing is obeyed; rules that contradict each other are ignored together."""
        kept = set(offered)
        for permitted in self._constraints(offered, history, last):
            if not permitted:
                return set()
            kept &= permitted
        return kept or offered

    def _constraints(self, offered: set[str], history: Sequence[Called], last: Sequence[Called]) -> Iterable[set[str]]:
        first = self._tools("run_first") & offered
        if first and not history:
            yield first
        names = {called.name for called in last}
        for rule in self._of("constrain_child_tools"):
            if rule["tool_name"] in names:
                yield set(rule["children"]) & offered or offered
        yield self._by_parents(offered, names)
        for rule in self._of("conditional"):
            for called in last:
                if called.name == rule["tool_name"]:
                    yield _branch(rule, called.output, offered)

    def _by_parents(self, offered: set[str], last: set[str]) -> set[str]:
        """A tool of several parents may follow each of them."""
        rules = self._of("parent_last_tool")
        open_now = {child for rule in rules if rule["tool_name"] in last for child in rule["children"]}
        closed = {child for rule in rules for child in rule["children"]} - open_now
        return open_now & offered or offered - closed

    def _in_order(self, chosen: Sequence[str], offered: set[str], last: Sequence[Called]) -> bool:
        """Whether what may be called now decides what may follow: then the model must call one tool at a time."""
        if not last and self._tools("run_first") & offered:
            return True
        return any(rule["tool_name"] in chosen for kind in _ORDERING for rule in self._of(kind))

    def _choice(self, chosen: Sequence[str], offered: set[str], last: Sequence[Called]) -> str:
        if not chosen:
            return "auto"
        names = {called.name for called in last}
        forced = (not last and bool(self._tools("run_first") & offered)) or any(
            rule["tool_name"] in names and _names_next(rule, offered) for kind in _ORDERING for rule in self._of(kind)
        )
        if not forced:
            return "auto"
        return chosen[0] if len(chosen) == 1 else "required"

    def _prefilled(self, chosen: Sequence[str], last: Sequence[Called]) -> dict[str, Mapping[str, Any]]:
        fixed: dict[str, Mapping[str, Any]] = {}
        if not last:
            for rule in self._of("run_first"):
                if rule.get("args") and rule["tool_name"] in chosen:
                    fixed[rule["tool_name"]] = rule["args"]
        names = {called.name for called in last}
        for rule in self._of("constrain_child_tools"):
            for node in rule.get("child_arg_nodes") or () if rule["tool_name"] in names else ():
                if node.get("args") and node["name"] in chosen:
                    fixed[node["name"]] = node["args"]
        return fixed


def refusal(name: str, valid: Sequence[str]) -> str:
    """What the model reads when it calls a tool that it may not call."""
    hints = sentences("hints")
    if not valid:
        return str(hints["none_allowed"]).format(tool=name)
    return str(hints["not_allowed"]).format(tool=name, tools=list(valid))


def _last_step(history: Sequence[Called]) -> list[Called]:
    return [called for called in history if called.step == history[-1].step] if history else []


def _names_next(rule: Mapping[str, Any], offered: set[str]) -> bool:
    """Whether the rule names a tool that can be called next: without one there is nothing to force."""
    if rule["type"] == "conditional":
        named = {*rule["child_output_mapping"].values(), rule.get("default_child")}
    else:
        named = set(rule["children"])
    return bool(named & offered)


def _branch(rule: Mapping[str, Any], output: str, offered: set[str]) -> set[str]:
    said = _plain(output)
    for expected, child in rule["child_output_mapping"].items():
        if _plain(expected) == said:
            return {child} & offered or offered
    if rule.get("default_child"):
        return {rule["default_child"]} & offered or offered
    return set() if rule.get("require_output_mapping") else offered


def _plain(output: Any) -> Any:
    """An output to compare: `True`, `true` and `"true"` are the same, and so are `5` and `5.0`."""
    text = str(output).strip()
    lowered = text.lower()
    if lowered in ("true", "false"):
        return lowered
    try:
        value = json.loads(text)
    except ValueError:
        return text
    if isinstance(value, str):
        return value.strip()
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else text


def _sentence(rule: Mapping[str, Any]) -> str:
    said = sentences("rules")
    return str(said[rule["type"]]).format(
        tool=rule["tool_name"],
        tools=", ".join(rule.get("children") or ()),
        count=rule.get("max_count_limit"),
        cases=_cases(rule, said) if rule["type"] == "conditional" else "",
    )


def _cases(rule: Mapping[str, Any], said: Mapping[str, str]) -> str:
    cases = [said["conditional_case"].format(output=o, tool=t) for o, t in rule["child_output_mapping"].items()]
    if rule.get("default_child"):
        cases.append(said["conditional_default"].format(tool=rule["default_child"]))
    else:
        cases.append(said["conditional_closed" if rule.get("require_output_mapping") else "conditional_free"])
    return "; ".join(cases)
