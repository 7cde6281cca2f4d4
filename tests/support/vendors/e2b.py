"""Stands for the package e2b 2.63 in tests: that part of its documented surface which is used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.support.vendors import machines

KEY = "e2b_right"
HOME = "/home/user"


class SandboxException(Exception):
    def __init__(self, *args: object, status_code: int | None = None) -> None:
        super().__init__(*args)
        self.status_code = status_code


class AuthenticationException(Exception):
    pass


def _check(api_key: str) -> None:
    if api_key != KEY:
        raise AuthenticationException(f"401: {api_key} is no key\nmore lines")


class Sandbox:
    def __init__(self, machine: machines.Machine) -> None:
        self._machine = machine
        self.files = Files(machine)
        self.commands = Commands(machine)

    @classmethod
    def create(cls, template: str, timeout: int, *, allow_internet_access: bool, api_key: str) -> Sandbox:
        _check(api_key)
        if template != "base" and template not in machines.Machine.images:
            raise SandboxException(f"404: template '{template}' not found", status_code=404)
        image = machines.Machine.images.get(template)
        asked = {"image": template, "seconds": timeout, "network": allow_internet_access}
        return cls(machines.Machine(HOME, image, **asked))

    @staticmethod
    def list(*, limit: int, api_key: str) -> Pages:
        _check(api_key)
        return Pages()

    def create_snapshot(self) -> Snapshot:
        return Snapshot(self._machine.picture())

    def kill(self) -> bool:
        self._machine.end()
        return True


class Pages:
    def next_items(self) -> list[Any]:
        return []


class Snapshot:
    def __init__(self, snapshot_id: str) -> None:
        self.snapshot_id = snapshot_id


class Files:
    def __init__(self, machine: machines.Machine) -> None:
        self._machine = machine

    def write(self, path: str, data: bytes) -> None:
        self._machine.write(path, data)


class Commands:
    def __init__(self, machine: machines.Machine) -> None:
        self._machine = machine

    def run(
        self, cmd: str, *, background: bool, timeout: float, retain_output: bool
    ) -> Iterator[tuple[str | None, str | None, bytes | None]]:
        assert background
        assert not retain_output
        for line in self._machine.run(cmd):
            yield line, None, None
