"""What state follows from a finding, and who hears of it. Pure: a table, no clock and no database."""

from __future__ import annotations

from telemetry.alerts.conditions import Finding, Outcome
from telemetry.models.alerts import NoData, State

RAISED = frozenset({State.WARNING, State.ALERT})
# Nothing has been seen since the rule was made, changed or woken.
BLANK = frozenset({State.UNKNOWN, State.PAUSED})
JUDGED = {Outcome.OK: State.OK, Outcome.WARNING: State.WARNING, Outcome.ALERT: State.ALERT}
SILENT = {NoData.OK: State.OK, NoData.ALERT: State.ALERT, NoData.NO_DATA: State.NO_DATA}
GRAVITY = {state: place for place, state in enumerate(State)}


def follow(current: str, finding: Finding, no_data: str) -> State:
    """Until a first call is seen the state stays unknown: a new rule never pages on silence."""
    blank = current in BLANK
    if finding.outcome is Outcome.NO_HISTORY or (blank and not finding.calls):
        return State.UNKNOWN
    if finding.outcome in JUDGED:
        return JUDGED[finding.outcome]
    if blank:
        return State.UNKNOWN
    if finding.outcome is Outcome.EMPTY and not finding.calls:
        return SILENT.get(NoData(no_data), State(current))
    # Calls came, but too few, or none that has such a value: that is no silence, and proves nothing either.
    return State.OK if no_data == NoData.OK else State(current)


def is_told(before: str, after: str, *, tell_recovery: bool) -> bool:
    """States are told at their edges. What was unknown and turns out fine is no news."""
    if before == after:
        return False
    if after in RAISED or (after == State.NO_DATA and before not in BLANK):
        return True
    return after == State.OK and before not in BLANK and tell_recovery


def worst(states: list[str]) -> State:
    return max((State(state) for state in states), key=GRAVITY.__getitem__, default=State.UNKNOWN)
