"""Machines of E2B (e2b.dev): small virtual ones, each from a template or a snapshot."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from agents.sandbox.local import Policy
from agents.sandbox.remote import ImageGone, Machine, RemoteSandbox

PACKAGE = "e2b"


class E2BSandbox(RemoteSandbox):
    def __init__(self, policy: Policy) -> None:
        super().__init__(policy, E2B(policy.accounts.e2b_api_key, policy.accounts.e2b_template))


class E2B:
    name = "E2B"
    home = "/home/user/perennial"

    def __init__(self, key: str, template: str) -> None:
        self.base = template
        self.secrets = (key,)
        self._key = key

    def problem(self) -> tuple[str, str]:
        if find_spec(PACKAGE) is None:
            return "the package e2b is not installed", "pip install -r requirements-e2b.txt"
        return ("", "") if self._key else ("E2B_API_KEY is not set", "Set it to a key from e2b.dev/dashboard.")

    def greet(self) -> None:
        self._sandboxes().list(limit=1, api_key=self._key).next_items()

    def machine(self, image: str, *, network: bool, seconds: int) -> Machine:
        try:
            made = self._sandboxes().create(
                template=image, timeout=seconds, allow_internet_access=network, api_key=self._key
            )
        except import_module(PACKAGE).SandboxException as error:
            if error.status_code == 404 and image != self.base:
                raise ImageGone(str(error)) from None
            raise
        return E2BMachine(made)

    @staticmethod
    def _sandboxes() -> Any:
        return import_module(PACKAGE).Sandbox


class E2BMachine:
    def __init__(self, made: Any) -> None:
        self._made = made

    def write(self, path: str, data: bytes) -> None:
        self._made.files.write(path, data)

    def run(self, command: str, seconds: int) -> Iterator[str]:
        handle = self._made.commands.run(command, background=True, timeout=seconds, retain_output=False)
        for out, _, _ in handle:
            yield out or ""

    def picture(self) -> str:
        return str(self._made.create_snapshot().snapshot_id)

    def end(self) -> None:
        self._made.kill()
