"""Becomes a part's program: gives up root where asked, and dies with the process that started it.

Run as a script (`python launch.py SIGNAL PARENT USER KEEP -- program args`), never imported: what it changes must be
changed between fork and exec, where a threaded parent must not run Python.
"""

import ctypes
import os
import pwd
import signal
import sys

PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAP_DAC_OVERRIDE = 1
CAPABILITY_VERSION_3 = 0x20080522


def become(user: str, keep_reach: bool) -> None:
    """Drops root for `user`. `keep_reach`: files below directories closed to that user (/root) stay reachable."""
    libc = ctypes.CDLL(None, use_errno=True)
    account = pwd.getpwnam(user)
    if keep_reach:
        libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)
    if keep_reach:
        mask = 1 << CAP_DAC_OVERRIDE
        header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
        data = (ctypes.c_uint32 * 6)(mask, mask, mask, 0, 0, 0)
        if libc.capset(header, data) or libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0):
            sys.exit(f"{user} cannot reach the data directory: move it out of a closed home (DATA_DIR=/var/lib/...)")


def main() -> None:
    stop_signal, parent, user, keep_reach = sys.argv[1:5]
    program = sys.argv[6:]
    if user:
        become(user, keep_reach == "1")
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(stop_signal), 0, 0, 0)
        if os.getppid() != int(parent):
            sys.exit("the process that asked for this part is gone")
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.execv(program[0], program)  # noqa: S606


if __name__ == "__main__":
    main()
