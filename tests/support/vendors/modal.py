"""Stands for the package modal 1.6 in tests: that part of its documented surface which is used."""

from __future__ import annotations

from collections.abc import Iterator

from tests.support.vendors import machines

TOKEN = ("ak-right", "as-right")
HOME = "/root"


class exception:
    class NotFoundError(Exception):
        pass

    class AuthError(Exception):
        pass


class Client:
    def __init__(self, token: tuple[str, str]) -> None:
        self.token = token

    @classmethod
    def from_credentials(cls, token_id: str, token_secret: str) -> Client:
        return cls((token_id, token_secret))


class App:
    @staticmethod
    def lookup(name: str, *, client: Client, create_if_missing: bool) -> App:
        if client.token != TOKEN:
            raise exception.AuthError(f"Token {client.token[1]} is unknown")
        assert create_if_missing
        return App()


class Image:
    def __init__(self, object_id: str) -> None:
        self.object_id = object_id

    @classmethod
    def debian_slim(cls, python_version: str) -> Image:
        return cls("debian")

    @classmethod
    def from_id(cls, image_id: str, *, client: Client) -> Image:
        return cls(image_id)


class Sandbox:
    def __init__(self, machine: machines.Machine) -> None:
        self._machine = machine
        self.filesystem = Filesystem(machine)

    @classmethod
    def create(cls, *args: str, app: App, image: Image, timeout: int, block_network: bool, client: Client) -> Sandbox:
        if image.object_id != "debian" and image.object_id not in machines.Machine.images:
            raise exception.NotFoundError(f"{image.object_id} was not found")
        known = machines.Machine.images.get(image.object_id)
        asked = {"image": image.object_id, "seconds": timeout, "network": not block_network}
        return cls(machines.Machine(HOME, known, **asked))

    def exec(self, *args: str, timeout: int) -> Process:
        assert args[:2] == ("sh", "-c")
        return Process(self._machine.run(args[2]))

    def snapshot_filesystem(self) -> Image:
        return Image(self._machine.picture())

    def terminate(self) -> None:
        self._machine.end()


class Process:
    def __init__(self, stdout: Iterator[str]) -> None:
        self.stdout = stdout


class Filesystem:
    def __init__(self, machine: machines.Machine) -> None:
        self._machine = machine

    def write_bytes(self, data: bytes, remote_path: str) -> None:
        self._machine.write(remote_path, data)
