"""A server of other people's as a process of a test or bench: on loopback, ended whatever happens."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

START_TIMEOUT = 15.0
"""Seconds until a server must answer; on an idle machine redis takes about 0.05, livekit 0.2."""
POLL = 0.01
_PR_SET_PDEATHSIG = 1


class ServerError(RuntimeError):
    """A server is missing, or did not start; the text says what to do."""


class ServerProcess(ABC):
    """One process of `binary`; `start()` after `kill()` brings it back as it was, on the same port."""

    binary: str

    def __init__(self, port: int) -> None:
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None
        self._tmp = tempfile.TemporaryDirectory(prefix=f"{self.binary}-")
        self.log_path = Path(self._tmp.name) / "server.log"

    @abstractmethod
    def command(self) -> Sequence[str]:
        """Raises `ServerError` when the binary is missing."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether it is up."""

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        if self._process is None:
            raise ServerError(f"{self.binary} is not running: call start() first")
        return self._process.pid

    def start(self) -> Self:
        """Start the server and return once it answers. Does nothing while it runs."""
        if self.running:
            return self
        command = self.command()
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with(os.getpid()),  # a killed test run leaves no server behind
            )
        self._wait_until_it_answers()
        return self

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            if not self.running:
                raise ServerError(f"{self.binary} ended at once:\n{self.log_tail()}")
            if self.answers():
                return
            time.sleep(POLL)
        self.kill()
        raise ServerError(f"{self.binary} gave no answer for {START_TIMEOUT} s:\n{self.log_tail()}")

    def kill(self) -> None:
        """SIGKILL, as a crash would: nobody is told."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        self.kill()

    def close(self) -> None:
        """Stop the server and remove its files."""
        self.stop()
        self._tmp.cleanup()

    def log_tail(self, lines: int = 20) -> str:
        text = self.log_path.read_text(errors="replace") if self.log_path.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.close()


def find_binary(name: str, how: str) -> str:
    """The program's path; raises `ServerError`, which says how to get it, when it is missing."""
    found = shutil.which(name)
    if found is None:
        raise ServerError(f"{name} is not on PATH: {how}")
    return found


def die_with(parent: int) -> Callable[[], None] | None:
    """A preexec_fn that ties the child's life to this process's.

    None in a thread: the kernel would take the thread's end for the process's.
    """
    if threading.current_thread() is not threading.main_thread():
        return None
    prctl = ctypes.CDLL(None).prctl

    def tie() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)

    return tie
