"""The walls: namespaces, a root of its own, limits. Runs in the fresh, single-threaded process that a tool gets."""

from __future__ import annotations

import ctypes
import os
import resource
from contextlib import suppress
from typing import Any

from agents.sandbox import seccomp

SCRATCH = "/tmp"  # noqa: S108 -- a folder of the tool's own, in its own root
UID = 1000  # what a tool sees itself as
NOBODY = 65534  # what it is outside, where the server is root
_NEWUSER, _NEWNS, _NEWPID, _NEWNET, _NEWIPC, _NEWUTS = 0x10000000, 0x20000, 0x20000000, 0x40000000, 0x8000000, 0x4000000
_RDONLY, _NOSUID, _NODEV, _REMOUNT, _BIND, _REC, _PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
_PR_PDEATHSIG, _PR_DUMPABLE, _PR_NO_NEW_PRIVS = 1, 4, 38
_MOUNT_SETATTR, _AT_RECURSIVE, _AT_FDCWD = 442, 0x8000, -100
_DETACH = 2
NODE_RESERVES_MB, NODE_THREADS = 512, 16
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}

LIBC = ctypes.CDLL(None, use_errno=True)


def _must(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare() -> None:
    """User, mount, process, network, IPC and host name spaces; the next child is the first process in them.

    Root's map has two lines: the walls are built as root, who may read its own folders, and the tool is nobody. Only a
    process outside can write that, so one waits there.
    """
    root = os.getuid() == 0
    if root:
        os.setgroups([])
    ready, go = os.pipe()
    pid, uid, gid = os.getpid(), os.getuid(), os.getgid()
    writer = os.fork()
    if not writer:
        os._exit(_write_maps(ready, go, pid, (uid, gid)))
    os.close(ready)
    try:
        _must(LIBC.unshare(_NEWUSER | _NEWNS | _NEWPID | _NEWNET | _NEWIPC | _NEWUTS), "namespaces")
        os.write(go, b"1")
    finally:
        os.close(go)
        _, status = os.waitpid(writer, 0)
    if status:
        raise OSError(1, "the user namespace cannot be mapped")


def _write_maps(ready: int, go: int, pid: int, owner: tuple[int, int]) -> int:
    os.close(go)
    if not os.read(ready, 1):
        return 1
    try:
        if owner[0]:
            _put(f"/proc/{pid}/setgroups", "deny")
        for name, own in zip(("uid_map", "gid_map"), owner, strict=True):
            _put(f"/proc/{pid}/{name}", f"{UID} {own} 1" if owner[0] else f"0 0 1\n{UID} {NOBODY} 1")
    except OSError:
        return 1
    return 0


def _put(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    words = [word.encode() for word in (source, target, kind)]
    _must(LIBC.mount(*words, ctypes.c_ulong(flags), options.encode() or None), f"mount {target}")


def build_root(root: str, folders: dict[str, str], scratch_mb: int) -> None:
    """A new root in memory: `folders` (from where, to where) read-only, a scratch folder, and nothing else."""
    mount("none", "/", "", _REC | _PRIVATE)
    mount("tmpfs", root, "tmpfs", _NOSUID | _NODEV, "size=1m,mode=755")
    os.mkdir(root + SCRATCH)
    mount("tmpfs", root + SCRATCH, "tmpfs", _NOSUID | _NODEV, f"size={scratch_mb}m,nr_inodes=4096,mode=1777")
    for folder, target in ({name: name for name in ("/usr", "/lib", "/lib64", "/bin")} | folders).items():
        if os.path.islink(folder):
            os.symlink(os.readlink(folder), root + target)
        elif os.path.isdir(folder) and not os.path.isdir(root + target):
            os.makedirs(root + target)
            _bind(folder, root + target, _RDONLY | _NOSUID | _NODEV)
    os.makedirs(f"{root}/etc", exist_ok=True)
    for file in ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random", "/etc/ld.so.cache"):
        if os.path.exists(file):
            os.makedirs(os.path.dirname(root + file), exist_ok=True)
            _put(root + file, "")
            _bind(file, root + file, _NOSUID if file.startswith("/dev") else _RDONLY | _NOSUID | _NODEV)
    _put(f"{root}/etc/passwd", f"tool:x:{UID}:{UID}::{SCRATCH}:/bin/sh\n")
    os.mkdir(f"{root}/proc")
    with suppress(OSError):  # where /proc is masked (in a container), a new one is not allowed: tools have none
        mount("proc", f"{root}/proc", "proc", _NOSUID | _NODEV)
    mount("none", root, "", _REMOUNT | _BIND | _RDONLY | _NOSUID | _NODEV)
    os.chdir(root)
    _must(LIBC.syscall(_PIVOT_ROOT[os.uname().machine], b".", b"."), "pivot_root")
    _must(LIBC.umount2(b".", _DETACH), "umount")
    os.chdir(SCRATCH)


def _bind(source: str, target: str, attributes: int) -> None:
    mount(source, target, "", _BIND | _REC)
    wanted = (ctypes.c_uint64 * 4)(attributes, 0, 0, 0)
    result = LIBC.syscall(_MOUNT_SETATTR, _AT_FDCWD, target.encode(), _AT_RECURSIVE, wanted, ctypes.c_size_t(32))
    _must(result, f"read-only {target}")


def give_up_rights(*, isolated: bool) -> None:
    """For good: no capability, no set-user-id program, no system call of `seccomp`; dies with its parent."""
    if isolated:
        os.setresgid(UID, UID, UID)
        os.setresuid(UID, UID, UID)
        header, nothing = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
        _must(LIBC.capset(header, nothing), "capabilities")
        LIBC.prctl(_PR_DUMPABLE, 1, 0, 0, 0)
    LIBC.prctl(_PR_PDEATHSIG, 9, 0, 0, 0)
    _must(LIBC.prctl(_PR_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    if isolated:
        seccomp.forbid(LIBC)


def limit(limits: dict[str, Any], *, isolated: bool, node: bool) -> None:
    """Node reserves far more address space than it uses, and has threads from the start: it is held by what it may
    write, and has room for them."""
    megabyte = 1 << 20
    memory = limits["memory_mb"] * megabyte
    wanted = {
        resource.RLIMIT_DATA if node else resource.RLIMIT_AS: memory + (NODE_RESERVES_MB * megabyte if node else 0),
        resource.RLIMIT_CPU: limits["cpu_s"],
        resource.RLIMIT_FSIZE: limits["file_mb"] * megabyte,
        resource.RLIMIT_NOFILE: limits["open_files"],
        resource.RLIMIT_CORE: 0,
    }
    if isolated:  # outside a user namespace, the number counts all that this user runs
        wanted[resource.RLIMIT_NPROC] = limits["processes"] + (NODE_THREADS if node else 0)
    for which, most in wanted.items():
        _, hard = resource.getrlimit(which)
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(which, (allowed, allowed))
