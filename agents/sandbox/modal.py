"""Machines of Modal (modal.com): containers behind gVisor, each from an image or a picture of a machine's files."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from agents.sandbox.local import Policy
from agents.sandbox.remote import ImageGone, Machine, RemoteSandbox

PACKAGE = "modal"
APP = "perennial-tools"


class ModalSandbox(RemoteSandbox):
    def __init__(self, policy: Policy) -> None:
        super().__init__(policy, Modal(policy.accounts.modal_token_id, policy.accounts.modal_token_secret))


class Modal:
    name = "Modal"
    home = "/root/perennial"
    base = "debian_slim 3.11"

    def __init__(self, token_id: str, token_secret: str) -> None:
        self.secrets = (token_id, token_secret)

    def problem(self) -> tuple[str, str]:
        if find_spec(PACKAGE) is None:
            return "the package modal is not installed", "pip install -r requirements-modal.txt"
        if not all(self.secrets):
            return "MODAL_TOKEN_ID and MODAL_TOKEN_SECRET are not set", "Set them to a token: modal token new"
        return "", ""

    def greet(self) -> None:
        self._app()

    def machine(self, image: str, *, network: bool, seconds: int) -> Machine:
        modal = import_module(PACKAGE)
        if image == self.base:
            wanted = modal.Image.debian_slim(python_version="3.11")
        else:
            wanted = modal.Image.from_id(image, client=self._client)
        try:
            made = modal.Sandbox.create(
                app=self._app(), image=wanted, timeout=seconds, block_network=not network, client=self._client
            )
        except modal.exception.NotFoundError as error:
            if image != self.base:
                raise ImageGone(str(error)) from None
            raise
        return ModalMachine(made)

    def _app(self) -> Any:
        return import_module(PACKAGE).App.lookup(APP, client=self._client, create_if_missing=True)

    @cached_property
    def _client(self) -> Any:
        return import_module(PACKAGE).Client.from_credentials(*self.secrets)


class ModalMachine:
    def __init__(self, made: Any) -> None:
        self._made = made

    def write(self, path: str, data: bytes) -> None:
        self._made.filesystem.write_bytes(data, path)

    def run(self, command: str, seconds: int) -> Iterator[str]:
        yield from self._made.exec("sh", "-c", command, timeout=seconds).stdout

    def picture(self) -> str:
        return str(self._made.snapshot_filesystem().object_id)

    def end(self) -> None:
        self._made.terminate()
