"""Alerts: rules over the figures of model calls, judged by the clock, told by email, Slack and signed webhooks.

The parts: `metrics` (what can be watched), `measure` (asking ClickHouse for it), `conditions` (what figures mean),
`states` (what follows), `messages` (in words), `notify` (the outbox), `deliver` (the sending), `evaluate` (the
whole, by the clock), `preview` (what a rule would have said), `channels/` (one file a kind).
"""
