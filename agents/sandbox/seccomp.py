"""Forbids a process the system calls that no tool needs and that kernels are attacked with."""

from __future__ import annotations

import ctypes
import platform

_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_EPERM, _ENOSYS, _EAFNOSUPPORT = 1, 38, 97
_NR, _ARCH, _ARG0 = 0, 4, 16
_X32 = 0x40000000
_NEW_NAMESPACES = 0x7E020080
# UNIX, INET, INET6 and NETLINK (name look-ups ask it). VSOCK would reach the host past any network namespace.
_FAMILIES = (1, 2, 10, 16)

# By number, in this order: ptrace mount umount2 pivot_root chroot swapon swapoff reboot init_module delete_module
# finit_module kexec_load add_key request_key keyctl unshare setns perf_event_open bpf userfaultfd process_vm_readv
# process_vm_writev kcmp open_by_handle_at memfd_create shmget shmat semget msgget mq_open personality acct sethostname
# quotactl.
# fmt: off
_NUMBERS = {
    "x86_64": (
        101, 165, 166, 155, 161, 167, 168, 169, 175, 176, 313, 246, 248, 249, 250, 272, 308, 298, 321, 323, 310, 311,
        312, 304, 319, 29, 30, 64, 68, 240, 135, 163, 170, 179,
    ),
    "aarch64": (
        117, 40, 39, 41, 51, 224, 225, 142, 105, 106, 273, 104, 217, 218, 219, 97, 268, 241, 280, 282, 270, 271, 272,
        265, 279, 194, 196, 190, 186, 180, 92, 89, 161, 60,
    ),
}
# fmt: on
# io_uring, open_tree to fspick, pidfd_getfd, mount_setattr, memfd_secret: one number everywhere.
_EVERYWHERE = (425, 426, 427, 428, 429, 430, 431, 432, 433, 438, 442, 447)
# Audit's word for the machine; socket, clone, clone3.
_MACHINES = {"x86_64": (0xC000003E, 41, 56, 435), "aarch64": (0xC00000B7, 198, 220, 435)}


class _Instruction(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint16), ("jt", ctypes.c_uint8), ("jf", ctypes.c_uint8), ("k", ctypes.c_uint32)]


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_uint16), ("filter", ctypes.POINTER(_Instruction))]


def known() -> bool:
    return platform.machine() in _MACHINES


def forbid(libc: ctypes.CDLL) -> None:
    """For this process and all that it starts, for good; `no_new_privs` must be set. Raises OSError."""
    listed = _program(platform.machine())
    instructions = (_Instruction * len(listed))(*(_Instruction(*line) for line in listed))
    program = _Program(len(listed), instructions)
    if libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")


def _program(machine: str) -> list[tuple[int, int, int, int]]:
    arch, socket, clone, clone3 = _MACHINES[machine]
    lines = [(_LOAD, 0, 0, _ARCH), (_EQUAL, 1, 0, arch), _give(_KILL), (_LOAD, 0, 0, _NR)]
    lines += [(_AT_LEAST, 0, 1, _X32), _give(_KILL)]
    for number in (*_NUMBERS[machine], *_EVERYWHERE):
        lines += [(_EQUAL, 0, 1, number), _error(_EPERM)]
    # The flags of clone3 lie in memory, where a filter cannot look: the C library falls back to clone.
    lines += [(_EQUAL, 0, 1, clone3), _error(_ENOSYS)]
    lines += [(_EQUAL, 0, 4, clone), (_LOAD, 0, 0, _ARG0), (_ANY_BIT, 0, 1, _NEW_NAMESPACES), _error(_EPERM)]
    lines += [_give(_ALLOW)]
    families = [(_EQUAL, len(_FAMILIES) - at, 0, family) for at, family in enumerate(_FAMILIES)]
    lines += [(_EQUAL, 0, 2 + len(families), socket), (_LOAD, 0, 0, _ARG0), *families, _error(_EAFNOSUPPORT)]
    return [*lines, _give(_ALLOW)]


def _give(answer: int) -> tuple[int, int, int, int]:
    return (_RETURN, 0, 0, answer)


def _error(number: int) -> tuple[int, int, int, int]:
    return _give(0x00050000 | number)
