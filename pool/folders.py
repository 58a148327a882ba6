"""Temporary folders that do not outlive their process for long, however it ends.

Whoever makes one removes those of processes that were killed: a lock on a file in it says who lives, also
across containers that share a temporary directory.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path

YOUNG = 60.0
"""Seconds for which a folder without a lock may only just be in the making."""
_LOCK = "alive"


class OwnFolder:
    """A folder of this process, that only this user may enter; `roomkeeper-<what>-...`."""

    def __init__(self, what: str) -> None:
        prefix = f"roomkeeper-{what}-"
        for other in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
            _remove_if_left(other)
        self.path = Path(tempfile.mkdtemp(prefix=prefix))
        self._lock = os.open(self.path / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def close(self) -> None:
        """Remove it, and all that is in it."""
        os.close(self._lock)
        shutil.rmtree(self.path, ignore_errors=True)


def _remove_if_left(folder: Path) -> None:
    """Somebody else's folder, or one that is gone by now, is left alone."""
    with contextlib.suppress(OSError):
        if time.time() - folder.stat().st_mtime < YOUNG:
            return
        lock = os.open(folder / _LOCK, os.O_RDWR)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)
