"""The sandbox on machines of a vendor: each call has one of its own, made from an image that holds what the tool wants.

An image is a picture of a machine, taken once per set of packages: this folder was put there, and the packages were
installed. A call's machine runs `errand.py` of it, which does there what the sandbox of the server does here.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import shutil
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, Protocol, get_args

from agents.sandbox.base import Call, Failure, Isolation, Kind, Language, Limits, Outcome, Packages
from agents.sandbox.local import Policy
from agents.sandbox.npm import Npm
from agents.sandbox.pip import Pip
from agents.sandbox.process import memory_told
from agents.sandbox.requirements import INSTALL_S, Environments, NotInstallable, Say

SPARE_S = 30  # beside a call's own limit: for starting, and for telling that it was reached
LOOK_S = 0.25
TRACEBACK_CHARS = 4000


class VendorFailed(Exception):
    """The machine did not do what it should: the message says it without the vendor's key."""


class ImageGone(VendorFailed):
    pass


class Machine(Protocol):
    """Its methods raise whatever the vendor's package raises."""

    def write(self, path: str, data: bytes) -> None: ...

    def run(self, command: str, seconds: int) -> Iterator[str]:
        """What a shell's command prints, as it comes."""
        ...

    def picture(self) -> str:
        """Of its files: the name of an image."""
        ...

    def end(self) -> None: ...


class Vendor(Protocol):
    """`home`: a folder that its machines may write. `base`: the image that images are made from."""

    name: str
    home: str
    base: str

    @property
    def secrets(self) -> Sequence[str]:
        """What no message may repeat."""
        ...

    def problem(self) -> tuple[str, str]:
        """Why it cannot be asked at all, with the mend; empty: it can."""
        ...

    def greet(self) -> None:
        """Raises what the vendor's package raises, where the vendor does not know us."""
        ...

    def machine(self, image: str, *, network: bool, seconds: int) -> Machine:
        """A new one that lives so long at most. Raises ImageGone."""
        ...


class RemoteSandbox:
    """One a server process; thread-safe."""

    def __init__(self, policy: Policy, vendor: Vendor) -> None:
        self._vendor = vendor
        self._limits = policy.limits
        folder = policy.folder / vendor.name
        languages: tuple[Language, ...] = get_args(Language)
        self._images = {one: Environments(folder, Images(vendor, one, policy.limits)) for one in languages}

    def run(self, call: Call, abandoned: Callable[[], bool] = bool) -> Outcome:
        problem, _ = self.problem()
        if problem:
            return _failed("unavailable", problem)
        seconds = call.wall_s or self._limits.wall_s
        try:
            place = self._images[call.language].wait(call.requirements, seconds, abandoned)
            return self._asked(place, call, abandoned)
        except NotInstallable as error:
            return _failed("requirements" if call.requirements else "unavailable", str(error))
        except ImageGone:
            shutil.rmtree(place, ignore_errors=True)  # another call may be at it
            return _failed("unavailable", f"{self._vendor.name} has lost what was installed: call it again")
        except (VendorFailed, OSError) as error:
            return _failed("unavailable", str(error))

    def problem(self) -> tuple[str, str]:
        """Why it can run nothing, with the mend, as far as it is known without asking the vendor; empty: nothing is."""
        return self._vendor.problem()

    def isolation(self) -> Isolation:
        problem, mend = self.problem()
        if problem:
            return Isolation(False, (), problem, mend)
        try:
            with told(self._vendor):
                self._vendor.greet()
        except VendorFailed as error:
            return Isolation(False, (), str(error), "Is the key right, and the vendor in reach from here?")
        return Isolation(True, (f"a machine of {self._vendor.name} for each call",))

    def prepare(self, packages: Packages) -> str:
        problem, _ = self.problem()
        if problem:
            return problem
        try:
            self._images[packages.language].wait(packages.names, INSTALL_S + SPARE_S)
        except NotInstallable as error:
            return str(error)
        return self.packages(packages)

    def packages(self, packages: Packages) -> str:
        return self._images[packages.language].said(packages.names)

    def _asked(self, place: Path, call: Call, abandoned: Callable[[], bool]) -> Outcome:
        if call.server is not None:  # its key must not leave this server, and there is no way back from there
            return Outcome(failure=Failure("unavailable", "a tool on a vendor's machine gets no client of this server"))
        seconds = math.ceil(call.wall_s or self._limits.wall_s) + SPARE_S
        image = (place / "image").read_text()
        with _machine(self._vendor, image, network=call.network, seconds=seconds) as machine:
            errand = _Errand(self._vendor, machine, self._limits)
            said = errand.answer({"call": asdict(call)}, seconds, abandoned)
        if isinstance(said, Failure):
            return Outcome(failure=said)
        if "problem" in said:
            raise VendorFailed(str(said["problem"])[:300])
        return _outcome(call, said, self._limits)


class Images:
    """Installs by taking a picture of a machine; what lies in the folder is the name of it."""

    def __init__(self, vendor: Vendor, language: Language, limits: Limits) -> None:
        self._vendor = vendor
        self._language = language
        self._limits = limits

    def key(self) -> str:
        return "\n".join([self._vendor.base, self._language, hashlib.sha256(bundle()).hexdigest()])

    def checked(self, wanted: Sequence[str]) -> list[str]:
        return Pip.checked(wanted) if self._language == "python" else Npm.checked(wanted)

    def install(self, folder: Path, wanted: Sequence[str], say: Say) -> None:
        try:
            image = self._image(wanted, say)
        except VendorFailed as error:
            raise NotInstallable(str(error)) from None
        folder.mkdir(parents=True)
        (folder / "image").write_text(image)

    def _image(self, wanted: Sequence[str], say: Say) -> str:
        say(f"starting a machine of {self._vendor.name}")
        vendor, seconds = self._vendor, INSTALL_S + SPARE_S
        with _machine(vendor, vendor.base, network=True, seconds=seconds) as machine:
            archive, code = f"{vendor.home}/code.zip", f"{vendor.home}/code"
            with told(vendor):
                machine.write(archive, bundle())
                said = "".join(machine.run(f"python3 -m zipfile -e {archive} {code} 2>&1 && echo unpacked", SPARE_S))
            if "unpacked" not in said:
                raise VendorFailed(f"{vendor.name}: the machine cannot be set up: {said[-200:]}")
            say(f"installing {', '.join(wanted)}" if wanted else "looking at what is there")
            packages = {"language": self._language, "names": list(wanted)}
            answer = _Errand(vendor, machine, self._limits).answer({"packages": packages}, seconds)
            problem = answer.message if isinstance(answer, Failure) else answer.get("problem")
            if problem:
                raise NotInstallable(str(problem)[:300])
            say("taking a picture of the machine")
            with told(vendor):
                return machine.picture()


class _Errand:
    """One request to a machine. A thread follows what it says, so that whoever waits can give up."""

    def __init__(self, vendor: Vendor, machine: Machine, limits: Limits) -> None:
        self._vendor = vendor
        self._machine = machine
        self._limits = limits
        self._heard: list[str] = []
        self._problem = ""
        self._ended = threading.Event()

    def answer(
        self, asked: dict[str, Any], seconds: int, abandoned: Callable[[], bool] = bool
    ) -> dict[str, Any] | Failure:
        """Raises VendorFailed for what is no answer."""
        request = json.dumps({**asked, "limits": asdict(self._limits)}).encode()
        with told(self._vendor):
            self._machine.write(f"{self._vendor.home}/request.json", request)
        threading.Thread(target=self._follow, args=(seconds,), name="errand", daemon=True).start()
        deadline = time.monotonic() + seconds
        while not self._ended.wait(LOOK_S):
            if abandoned():
                return Failure("abandoned", "it was given up, because nobody waits for it any more")
            if time.monotonic() > deadline:
                return Failure("timeout", f"its machine gave no answer within {seconds} s and was ended")
        if self._problem:
            raise VendorFailed(self._problem)
        return self._read()

    def _follow(self, seconds: int) -> None:
        home = self._vendor.home
        most = 2 * self._limits.return_bytes + 12 * self._limits.output_chars + 65536
        try:
            with told(self._vendor):
                for piece in self._machine.run(
                    f"cd {home}/code && python3 -m agents.sandbox.errand {home} 2>&1", seconds
                ):
                    self._heard.append(piece)
                    most -= len(piece)
                    if most < 0:
                        raise VendorFailed("its answer is too long")
        except VendorFailed as error:
            self._problem = str(error)
        finally:
            self._ended.set()

    def _read(self) -> dict[str, Any]:
        """The tool ran on the same machine: what is read here may be its own making."""
        said = "".join(self._heard).strip()
        try:
            answer = json.loads(said.rpartition("\n")[2])
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise VendorFailed(f"{self._vendor.name}: the machine gave no answer: {said[-200:]}")
        return answer


@contextmanager
def _machine(vendor: Vendor, image: str, *, network: bool, seconds: int) -> Iterator[Machine]:
    """Ended in any case; the vendor ends it by itself when its time is over."""
    with told(vendor):
        machine = vendor.machine(image, network=network, seconds=seconds)
    try:
        yield machine
    finally:
        with suppress(VendorFailed), told(vendor):
            machine.end()


@contextmanager
def told(vendor: Vendor) -> Iterator[None]:
    """Whatever a vendor's package raises becomes VendorFailed: they have many roots, and some of the transport's."""
    try:
        yield
    except VendorFailed:
        raise
    except Exception as error:
        text = (str(error).splitlines() or [""])[0]
        for secret in filter(None, vendor.secrets):
            text = text.replace(secret, "…")
        raise VendorFailed(f"{vendor.name}: {type(error).__name__}: {text[:200]}") from None


@cache
def bundle() -> bytes:
    """This folder, packed; the same bytes for the same files."""
    packed, here = io.BytesIO(), Path(__file__).parent
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("agents/__init__.py"), "")
        for path in sorted([*here.glob("*.py"), *here.glob("*.mjs")]):
            archive.writestr(zipfile.ZipInfo(f"agents/sandbox/{path.name}"), path.read_bytes())
    return packed.getvalue()


def _outcome(call: Call, said: dict[str, Any], limits: Limits) -> Outcome:
    failure, prints = said.get("failure"), [said.get(name) for name in ("stdout", "stderr")]
    out, err = (text[: limits.output_chars + 20] if isinstance(text, str) else "" for text in prints)
    if failure is None:
        value, memory = said.get("value"), memory_told(call, said.get("memory"))
        return Outcome(value=value, memory=memory, stdout=out, stderr=err)
    if not isinstance(failure, dict) or failure.get("kind") not in get_args(Kind):
        return _failed("crashed", "its process gave no answer")
    message, traceback = (str(failure.get(name) or "")[:TRACEBACK_CHARS] for name in ("message", "traceback"))
    return Outcome(failure=Failure(failure["kind"], message, traceback), stdout=out, stderr=err)


def _failed(kind: Kind, message: str) -> Outcome:
    return Outcome(failure=Failure(kind, message))
