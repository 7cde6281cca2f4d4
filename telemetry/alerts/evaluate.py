"""Takes the rules that are due, asks one question for each shape of rule, and commits what follows.

A rule is claimed by a lease and a number that each claim and each edit raises: what was judged under an older number is
thrown away. So two workers never judge one rule at once, and an edit is never judged by its old terms.
"""

from __future__ import annotations

import logging
import time
import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from django.db import transaction
from django.db.models import F, Q

from core.time import now
from telemetry.alerts import states
from telemetry.alerts.conditions import Finding, judge
from telemetry.alerts.measure import Measured, Shape, measure, shape_of
from telemetry.alerts.metrics import METRICS, NOTHING
from telemetry.alerts.notify import tell
from telemetry.client import TelemetryUnavailable
from telemetry.models.alerts import AlertChannel, AlertEvent, AlertRule, AlertState, State

log = logging.getLogger(__name__)

BATCH = 200
LEASE = timedelta(minutes=3)
# After so many questions without an answer in a row the others can wait for the next round.
MOST_MISSES = 3
# A group that has not called for so long, and is not raised, is forgotten.
FORGOTTEN = timedelta(days=35)
CADENCES = ((60, 60), (360, 300), (1_440, 1_800), (10_080, 10_800))
LONGEST = 43_200
GROUP_LENGTH = 300


@dataclass(slots=True)
class Round:
    """What one run did."""

    judged: int = 0
    failed: int = 0
    put_off: int = 0


def cadence(window_minutes: int) -> int:
    """Seconds from one evaluation to the next: a long window moves slowly."""
    return next((seconds for minutes, seconds in CADENCES if window_minutes <= minutes), LONGEST)


def next_due(rule: AlertRule, at: datetime) -> datetime:
    """After `at`. The id decides where in the cadence, so that rules spread over it."""
    step = cadence(rule.window_minutes)
    offset = zlib.crc32(rule.pk.encode()) % step
    return datetime.fromtimestamp(((int(at.timestamp()) - offset) // step + 1) * step + offset, UTC)


def evaluate_due(at: datetime | None = None, *, seconds: float = 40.0) -> Round:
    """All rules that are due, or as many as the time allows; the others are left for the next run."""
    at, end, done, misses = at or now(), time.monotonic() + seconds, Round(), 0
    while rules := _claim(at):
        for rule in [rule for rule in rules if rule.is_paused(at)]:
            done.judged += _commit(rule, None, at)
        awake = [rule for rule in rules if not rule.is_paused(at)]
        strange = [rule for rule in awake if rule.metric not in METRICS]
        done.failed += _cannot(strange, "this version knows no such metric", at)
        for shape, members in _by_shape([rule for rule in awake if rule.metric in METRICS]).items():
            if time.monotonic() > end or misses >= MOST_MISSES:
                _release(members)
                done.put_off += len(members)
                continue
            misses = 0 if _one_shape(shape, members, at, done) else misses + 1
        if done.put_off:
            break
    return done


def _one_shape(shape: Shape, members: Sequence[AlertRule], at: datetime, done: Round) -> bool:
    """Whether ClickHouse answered."""
    try:
        measured = measure(shape, at)
        for rule in members:
            done.judged += _commit(rule, measured, at)
    except TelemetryUnavailable as error:
        done.failed += _cannot(members, error.message, at)
        return False
    except Exception as error:  # one rule that breaks must not silence all the others
        log.exception("alert rules of one shape broke: %s", ", ".join(rule.pk for rule in members))
        done.failed += _cannot(members, f"{type(error).__name__}: {error}", at)
    return True


@transaction.atomic
def _claim(at: datetime) -> list[AlertRule]:
    free = Q(claimed_until=None) | Q(claimed_until__lt=at)
    due = AlertRule.objects.filter(free, next_due_at__lte=at).order_by("next_due_at")
    rules = list(due.select_for_update(skip_locked=True)[:BATCH])
    for rule in rules:
        rule.claim += 1
    claimed = AlertRule.objects.filter(pk__in=[rule.pk for rule in rules])
    claimed.update(claim=F("claim") + 1, claimed_until=at + LEASE)
    return rules


def _by_shape(rules: Sequence[AlertRule]) -> dict[Shape, list[AlertRule]]:
    found: dict[Shape, list[AlertRule]] = defaultdict(list)
    for rule in rules:
        found[shape_of(rule)].append(rule)
    return found


def _release(rules: Sequence[AlertRule]) -> None:
    for rule in rules:
        AlertRule.objects.filter(pk=rule.pk, claim=rule.claim).update(claimed_until=None)


def _held(claimed: AlertRule) -> AlertRule | None:
    """The rule as it stands, locked; None: somebody else has it, or it was changed or deleted."""
    return AlertRule.objects.select_for_update().filter(pk=claimed.pk, claim=claimed.claim).first()


def _cannot(rules: Sequence[AlertRule], why: str, at: datetime) -> int:
    """ClickHouse does not answer: the state stays, nobody is paged, the history says so once."""
    if rules:
        log.warning("%d alert rules cannot be evaluated: %s", len(rules), why)
    for claimed in rules:
        with transaction.atomic():
            rule = _held(claimed)
            if rule is None:
                continue
            if not rule.problem:
                said = f"Cannot be evaluated, the state is kept: {why}"[:500]
                AlertEvent.objects.create(rule=rule, at=at, before=rule.state, after=rule.state, said=said)
                rule.problem_at = at
            rule.problem, rule.next_due_at, rule.claimed_until = why[:500], next_due(rule, at), None
            rule.save(update_fields=["problem", "problem_at", "next_due_at", "claimed_until"])
    return len(rules)


@dataclass(slots=True)
class _Changes:
    """What one evaluation of one rule writes."""

    rule: AlertRule
    at: datetime
    channels: list[AlertChannel]
    states: list[AlertState] = field(default_factory=list)
    events: list[AlertEvent] = field(default_factory=list)
    forgotten: list[int] = field(default_factory=list)

    def move(self, state: AlertState, after: str, finding: Finding | None) -> None:
        before = state.state
        if finding is not None:
            state.value, state.calls, state.said = finding.value, finding.calls, finding.said[:500]
            state.seen_at = self.at if finding.calls else state.seen_at
        edge = states.is_told(before, after, tell_recovery=self.rule.tell_recovery)
        told = bool(self.channels) and (edge or self._is_reminded(state, after))
        if before != after or told:
            state.state = after
            state.changed_at = self.at if before != after else state.changed_at
            state.told_at = self.at if told else None
            self.events.append(
                AlertEvent(
                    rule=self.rule,
                    at=self.at,
                    group=state.group,
                    before=before,
                    after=after,
                    value=state.value,
                    said=state.said,
                    told=told,
                )
            )
        self.states.append(state)

    def _is_reminded(self, state: AlertState, after: str) -> bool:
        every = self.rule.reminder_minutes
        if not every or state.state != after or after not in states.RAISED or state.told_at is None:
            return False
        return self.at - state.told_at >= timedelta(minutes=every)


@transaction.atomic
def _commit(claimed: AlertRule, measured: Measured | None, at: datetime) -> int:
    """`measured` None: the rule is paused. 1: it was ours to judge."""
    rule = _held(claimed)
    if rule is None:
        return 0
    known = {state.group: state for state in rule.states.all()}
    changes = _Changes(rule, at, list(rule.channels.filter(enabled=True)))
    if measured is None:
        for state in known.values():
            changes.move(state, State.PAUSED, None)
    else:
        _judge(changes, known, measured)
    _write(changes)
    raised = [event for event in changes.events if event.told and event.after != State.OK]
    tell(rule, changes.channels, sorted(raised, key=lambda event: -states.GRAVITY[State(event.after)]))
    tell(rule, changes.channels, [event for event in changes.events if event.told and event.after == State.OK])
    return 1


def _judge(changes: _Changes, known: dict[str, AlertState], measured: Measured) -> None:
    rule, at = changes.rule, changes.at
    found = {group[:GROUP_LENGTH]: group for group in measured.now}
    for group in {*found, *known, *(() if rule.group_by else ("",))}:
        state = known.get(group) or AlertState(rule=rule, group=group, changed_at=at)
        whole = found.get(group, group)
        finding = judge(rule, measured.now.get(whole, NOTHING), measured.history(whole))
        after = states.follow(state.state, finding, rule.no_data)
        idle = not finding.calls and after not in states.RAISED and state.pk and (state.seen_at or at) < at - FORGOTTEN
        if rule.group_by and idle:
            changes.forgotten.append(state.pk)
        else:
            changes.move(state, after, finding)


def _write(changes: _Changes) -> None:
    rule, at = changes.rule, changes.at
    fields = ["state", "value", "calls", "said", "changed_at", "seen_at", "told_at"]
    AlertState.objects.bulk_update([state for state in changes.states if state.pk], fields)
    AlertState.objects.bulk_create([state for state in changes.states if not state.pk])
    AlertState.objects.filter(pk__in=changes.forgotten).delete()
    AlertEvent.objects.bulk_create(changes.events)
    gravest = max(changes.states, key=lambda s: (states.GRAVITY[State(s.state)], s.value or 0), default=None)
    paused = rule.is_paused(at)
    rule.state = State.PAUSED if paused else states.worst([state.state for state in changes.states])
    rule.last_value = gravest.value if gravest else None
    rule.raised = sum(state.state in states.RAISED for state in changes.states)
    if any(event.before != event.after for event in changes.events):
        rule.changed_at = at
    rule.evaluated_at, rule.problem, rule.problem_at, rule.claimed_until = at, "", None, None
    rule.next_due_at = (rule.paused_until if rule.enabled else None) if paused else next_due(rule, at)
    rule.save(
        update_fields=[
            "state",
            "last_value",
            "raised",
            "changed_at",
            "evaluated_at",
            "problem",
            "problem_at",
            "claimed_until",
            "next_due_at",
        ]
    )
