"""Tool rules: what may be called next, what must be, and when a turn ends."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.tool_rules import Called, Rules

TOOLS = ["a", "b", "c", "d"]


def rules(*wire: dict[str, Any]) -> Rules:
    return Rules.parse(wire)


def rule(kind: str, tool: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "tool_name": tool, "prompt_template": None, **fields}


def steps(*groups: str | tuple[str, ...]) -> list[Called]:
    """Each group is one step's calls."""
    return [Called(name, n) for n, group in enumerate(groups) for name in group]


def test_without_rules_everything_may_be_called_and_nothing_must():
    allowed = rules().allowed(TOOLS, [])
    assert (allowed.names, allowed.tool_choice, dict(allowed.prefilled)) == (tuple(TOOLS), "auto", {})
    assert allowed.parallel


def test_run_first_forces_its_one_tool_with_its_arguments_and_then_lets_go():
    first = rules(rule("run_first", "b", args={"x": 1}))
    allowed = first.allowed(TOOLS, [])
    assert (allowed.names, allowed.tool_choice, allowed.prefilled) == (("b",), "b", {"b": {"x": 1}})
    later = first.allowed(TOOLS, steps("b"))
    assert (later.names, later.tool_choice, later.prefilled) == (tuple(TOOLS), "auto", {})


def test_several_run_first_tools_are_a_choice_that_must_be_made():
    allowed = rules(rule("run_first", "b"), rule("run_first", "c")).allowed(TOOLS, [])
    assert (allowed.names, allowed.tool_choice) == (("b", "c"), "required")


def test_a_rule_about_a_tool_that_is_not_offered_says_nothing():
    stale = rules(
        rule("run_first", "gone"),
        rule("constrain_child_tools", "a", children=["gone"]),
        rule("required_before_exit", "gone"),
    )
    assert stale.allowed(TOOLS, []).tool_choice == "auto"
    after_a = stale.allowed(TOOLS, steps("a"))
    assert (after_a.names, after_a.tool_choice) == (tuple(TOOLS), "auto")
    assert stale.missing(TOOLS, []) == ()


def test_children_are_all_that_may_follow_and_one_of_them_must():
    chain = rules(
        rule("constrain_child_tools", "a", children=["b", "c"], child_arg_nodes=[{"name": "c", "args": {"y": 2}}])
    )
    allowed = chain.allowed(TOOLS, steps("a"))
    assert (allowed.names, allowed.tool_choice, allowed.prefilled) == (("b", "c"), "required", {"c": {"y": 2}})
    assert chain.allowed(TOOLS, steps("a", "b")).names == tuple(TOOLS)


def test_parallel_calls_of_the_last_step_all_count_as_the_last_call():
    chain = rules(rule("constrain_child_tools", "a", children=["b"]))
    assert chain.allowed(TOOLS, steps(("a", "d"))).names == ("b",)
    assert chain.allowed(TOOLS, steps(("d", "a"))).names == ("b",)


def test_children_of_a_parent_may_follow_it_and_nothing_else():
    parent = rules(rule("parent_last_tool", "a", children=["b"]))
    assert parent.allowed(TOOLS, []).names == ("a", "c", "d")
    assert parent.allowed(TOOLS, steps("c")).names == ("a", "c", "d")
    after = parent.allowed(TOOLS, steps("a"))
    assert (after.names, after.tool_choice) == (("b",), "b")


@pytest.mark.parametrize(
    ("last", "expected"),
    [("d", ("a", "c", "d")), ("a", ("b",)), ("c", ("b",)), (("a", "d"), ("b",))],
)
def test_a_tool_of_two_parents_may_follow_each_of_them(last, expected):
    parents = rules(rule("parent_last_tool", "a", children=["b"]), rule("parent_last_tool", "c", children=["b"]))
    assert parents.allowed(TOOLS, steps(last)).names == expected


def test_what_a_missing_parent_guards_stays_closed():
    assert rules(rule("parent_last_tool", "gone", children=["b"])).allowed(TOOLS, []).names == ("a", "c", "d")


def test_a_tool_that_may_be_called_no_time_at_all_is_not_even_forced():
    never = rules(rule("run_first", "a"), rule("max_count_per_step", "a", max_count_limit=0))
    allowed = never.allowed(TOOLS, [])
    assert (allowed.names, allowed.tool_choice) == ((), "auto")


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("true", ("b",)),
        ("True", ("b",)),
        ('"true"', ("b",)),
        ("5.0", ("c",)),
        (" 5 ", ("c",)),
        ("anything", ("d",)),
        ("", ("d",)),
    ],
)
def test_a_condition_reads_the_bare_output(output, expected):
    conditional = rules(
        rule("conditional", "a", child_output_mapping={"true": "b", "5": "c"}, default_child="d"),
    )
    allowed = conditional.allowed(TOOLS, [Called("a", 0, output)])
    assert (allowed.names, allowed.tool_choice) == (expected, expected[0])


@pytest.mark.parametrize(("required", "expected"), [(False, tuple(TOOLS)), (True, ())])
def test_an_output_that_no_case_names_opens_everything_or_closes_it(required, expected):
    conditional = rules(
        rule("conditional", "a", child_output_mapping={"x": "b"}, default_child=None, require_output_mapping=required)
    )
    assert conditional.allowed(TOOLS, [Called("a", 0, "y")]).names == expected


def test_a_tool_leaves_after_exactly_as_many_calls_as_its_count():
    limited = rules(rule("max_count_per_step", "a", max_count_limit=2))
    assert "a" in limited.allowed(TOOLS, steps("a")).names
    assert "a" not in limited.allowed(TOOLS, steps("a", "a")).names
    assert "a" not in limited.allowed(TOOLS, steps(("a", "a"))).names


def test_parallel_calls_beyond_the_count_are_refused_and_the_first_ones_run():
    limited = rules(rule("max_count_per_step", "a", max_count_limit=2))
    refused = limited.refusals(["a", "a", "b", "a"], TOOLS, steps("a"))
    assert [reason is None for reason in refused] == [True, False, True, False]
    assert refused[1] == "[ToolConstraintError] Cannot call a, valid tools include: ['b', 'c', 'd']."


def test_a_call_that_no_rule_allows_is_refused_with_those_that_are():
    chain = rules(rule("constrain_child_tools", "a", children=["b"]))
    assert chain.refusals(["c", "b"], TOOLS, steps("a")) == [
        "[ToolConstraintError] Cannot call c, valid tools include: ['b'].",
        None,
    ]


def test_rules_that_contradict_each_other_are_set_aside():
    torn = rules(rule("constrain_child_tools", "a", children=["b"]), rule("constrain_child_tools", "a", children=["c"]))
    assert torn.allowed(TOOLS, steps("a")).names == tuple(TOOLS)


def test_a_used_up_child_leaves_nothing_to_call_and_nothing_forced():
    chain = rules(
        rule("constrain_child_tools", "a", children=["b"]), rule("max_count_per_step", "b", max_count_limit=1)
    )
    allowed = chain.allowed(TOOLS, steps("b", "a"))
    assert (allowed.names, allowed.tool_choice) == ((), "auto")


@pytest.mark.parametrize(
    ("wire", "history", "ends"),
    [
        ([rule("exit_loop", "a")], steps(("b", "a")), True),
        ([rule("exit_loop", "a")], [Called("a", 0, failed=True)], False),
        ([rule("exit_loop", "a")], steps("a", "b"), False),
        ([rule("exit_loop", "a")], [], False),
        ([rule("exit_loop", "a"), rule("required_before_exit", "b")], steps("a"), False),
        ([rule("exit_loop", "a"), rule("required_before_exit", "b")], steps("b", "a"), True),
        ([rule("exit_loop", "a"), rule("required_before_exit", "b")], steps(("a", "b")), True),
        ([rule("exit_loop", "a"), rule("required_before_exit", "gone")], steps("a"), True),
        ([rule("continue_loop", "a")], steps("a"), False),
        ([rule("exit_loop", "a"), rule("continue_loop", "b")], steps(("a", "b")), True),
    ],
)
def test_a_turn_ends_with_a_terminal_call_that_went_well_and_lacks_nothing(wire, history, ends):
    assert rules(*wire).ends(TOOLS, history) is ends


def test_what_is_required_before_the_end_is_missing_until_it_is_called():
    required = rules(rule("required_before_exit", "b"), rule("required_before_exit", "a"))
    assert required.missing(TOOLS, []) == ("b", "a")
    assert required.missing(TOOLS, steps("b")) == ("a",)
    assert required.missing(TOOLS, steps("b", "a")) == ()


def test_approval_is_asked_by_name():
    approved = rules(rule("requires_approval", "a"))
    assert (approved.needs_approval("a"), approved.needs_approval("b")) == (True, False)


@pytest.mark.parametrize(
    ("wire", "history", "parallel"),
    [
        (rule("requires_approval", "a"), [], True),
        (rule("exit_loop", "a"), [], True),
        (rule("continue_loop", "a"), [], True),
        (rule("max_count_per_step", "a", max_count_limit=2), [], True),
        (rule("required_before_exit", "a"), [], True),
        (rule("run_first", "a"), [], False),
        (rule("run_first", "a"), steps("a"), True),
        (rule("run_first", "gone"), [], True),
        (rule("constrain_child_tools", "a", children=["b", "c"]), [], False),
        (rule("constrain_child_tools", "a", children=["b", "c"]), steps("a"), True),
        (rule("parent_last_tool", "a", children=["b"]), [], False),
        (rule("parent_last_tool", "gone", children=["b"]), [], True),
        (rule("conditional", "a", child_output_mapping={"x": "b"}), [], False),
        (rule("conditional", "a", child_output_mapping={"x": "b"}), [Called("a", 0, "x")], True),
    ],
)
def test_calls_come_one_at_a_time_only_while_one_decides_what_may_follow(wire, history, parallel):
    assert rules(wire).allowed(TOOLS, history).parallel is parallel


def test_each_rule_is_told_to_the_model_once():
    everything = rules(
        rule("run_first", "a"),
        rule("exit_loop", "a"),
        rule("continue_loop", "a"),
        rule("constrain_child_tools", "a", children=["b", "c"]),
        rule("parent_last_tool", "a", children=["b"]),
        rule("conditional", "a", child_output_mapping={"yes": "b"}, default_child="c"),
        rule("conditional", "a", child_output_mapping={"yes": "b"}, require_output_mapping=True),
        rule("max_count_per_step", "a", max_count_limit=3),
        rule("required_before_exit", "a"),
        rule("requires_approval", "a"),
        rule("requires_approval", "a"),
    )
    assert everything.describe() == [
        "Begin every response with a call to a.",
        "A call to a ends your response.",
        "After a you must go on: your response does not end with it.",
        "After a, the next call must be one of: b, c.",
        "Only directly after a may you call: b.",
        "After a, the next call depends on its result: yes → b; anything else → c.",
        "After a, the next call depends on its result: yes → b; anything else → no further tool.",
        "Call a at most 3 times in one response.",
        "You must call a before your response can end.",
        "A human decides about each call to a before it runs.",
    ]


names = st.sampled_from([*TOOLS, "gone"])
children = st.lists(names, min_size=1, max_size=3)
any_rule = st.one_of(
    st.builds(lambda t: rule("run_first", t, args={"k": 1}), names),
    st.builds(lambda t, c: rule("constrain_child_tools", t, children=c), names, children),
    st.builds(lambda t, c: rule("parent_last_tool", t, children=c), names, children),
    st.builds(
        lambda t, m, d, r: rule("conditional", t, child_output_mapping=m, default_child=d, require_output_mapping=r),
        names,
        st.dictionaries(st.sampled_from(["x", "1"]), names, min_size=1),
        st.none() | names,
        st.booleans(),
    ),
    st.builds(lambda t, n: rule("max_count_per_step", t, max_count_limit=n), names, st.integers(1, 3)),
    st.builds(rule, st.sampled_from(["exit_loop", "continue_loop", "requires_approval"]), names),
)
histories = st.lists(st.lists(st.tuples(st.sampled_from(TOOLS), st.sampled_from(["x", "1", ""])), max_size=3)).map(
    lambda groups: [Called(name, n, output) for n, group in enumerate(groups) for name, output in group]
)


@given(wire=st.lists(any_rule, max_size=6), history=histories)
def test_whatever_the_rules_what_is_allowed_is_offered_and_what_is_forced_can_be_done(wire, history):
    allowed = Rules.parse(wire).allowed(TOOLS, history)
    assert set(allowed.names) <= set(TOOLS)
    assert set(allowed.prefilled) <= set(allowed.names)
    assert allowed.tool_choice in {"auto", "required", *allowed.names}
    assert allowed.tool_choice == "auto" or allowed.names


@given(wire=st.lists(any_rule, max_size=6), history=histories, calls=st.lists(names, max_size=8))
def test_what_is_not_refused_never_exceeds_a_count_and_is_always_allowed(wire, history, calls):
    parsed = Rules.parse(wire)
    kept = [name for name, reason in zip(calls, parsed.refusals(calls, TOOLS, history), strict=True) if reason is None]
    assert set(kept) <= set(parsed.allowed(TOOLS, history).names)
    for each in wire:
        if each["type"] == "max_count_per_step" and each["tool_name"] in kept:
            before = sum(called.name == each["tool_name"] for called in history)
            assert before + kept.count(each["tool_name"]) <= each["max_count_limit"]
