"""Death with the parent, by the kernel's own means (Linux; elsewhere the reports' end of file must do)."""

from __future__ import annotations

import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Have the kernel send SIGKILL to this process when the thread that forked it ends.

    Holds for a process that swallows CancelledError, blocks its event loop, or is stopped (facts 13, 63).
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
