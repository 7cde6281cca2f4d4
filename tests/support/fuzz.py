"""Requests made up from the API's own description, sent to a live server: what the description does not say is found.

Half of them are valid by the description and half are not; most ids are those of rows that are there.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
REAL_IDS = 0.75
TIMEOUT_S = 60
Ids = Mapping[str, str]


@dataclass
class Fuzz:
    """`rows()`: ids by the name that a parameter has for them, of rows made for this; asked again when some were deleted.

    `failures`: by operation, the first message of each kind and the request as a curl command. `statuses`: how many
    answers had which status.
    """

    document: dict[str, Any]
    url: str
    key: str
    rows: Callable[[], Ids]
    failures: dict[str, dict[str, str]] = field(default_factory=dict)
    statuses: dict[int, int] = field(default_factory=dict)
    sent: int = 0

    def run(self, examples: int, seed: int) -> None:
        """So many requests to each operation."""
        schema = schemathesis.openapi.from_dict(self.document)
        with requests.Session() as session:
            session.headers["Authorization"] = f"Bearer {self.key}"
            ids = self.rows()
            for found in schema.get_all_operations():
                operation = found.ok()
                self._operation(operation, ids, session, examples, seed)
                if operation.method == "delete":
                    ids = self.rows()

    def run_for(self, minutes: float, say: Callable[[str], None] = print) -> None:
        """Again and again, each time with other requests."""
        end, seed = time.monotonic() + 60 * minutes, random.randrange(1 << 30)
        while time.monotonic() < end:
            self.run(10, seed)
            say(f"{self.sent} requests, {dict(sorted(self.statuses.items()))}, failures: {sorted(self.failures)}")
            seed += 1

    def report(self) -> str:
        return "\n".join(
            f"## {operation}: {kind}\n{said}"
            for operation, kinds in self.failures.items()
            for kind, said in kinds.items()
        )

    def _operation(self, operation: Any, ids: Ids, session: requests.Session, examples: int, seed: int) -> None:
        chance = random.Random(seed)
        modes = [operation.as_strategy(generation_mode=mode) for mode in GenerationMode]

        @seeded(seed)
        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=st.one_of(modes))
        def send(case: Any) -> None:
            self._send(_with_real(case, ids, chance), session)

        send()

    def _send(self, case: Any, session: requests.Session) -> None:
        response = case.call(base_url=self.url, session=session, timeout=TIMEOUT_S)
        self.sent += 1
        self.statuses[response.status_code] = self.statuses.get(response.status_code, 0) + 1
        try:
            case.validate_response(response, checks=CHECKS)
        except FailureGroup as group:
            found = self.failures.setdefault(case.operation.label, {})
            for failure in group.exceptions:
                found.setdefault(type(failure).__name__, f"{failure}\n{case.as_curl_command()}"[:3000])


def _with_real(case: Any, ids: Ids, chance: random.Random) -> Any:
    for part in (case.path_parameters, case.query, case.body):
        if isinstance(part, dict):
            for name in part.keys() & ids.keys():
                if chance.random() < REAL_IDS:
                    part[name] = ids[name]
    return case
