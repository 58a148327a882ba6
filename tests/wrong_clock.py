"""A wall clock that is wrong, for a process that is started with it: skew.c, preloaded."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

SOURCE = Path(__file__).with_name("skew.c")


class WrongClock:
    """The wall clock of each process that is started with `env`: so many seconds fast until it is set."""

    def __init__(self, library: Path, seconds: int) -> None:
        self._file = library.with_name(f"skew-{uuid.uuid4().hex[:8]}")
        self.env = {"LD_PRELOAD": str(library), "SKEW_FILE": str(self._file)}
        self.step_to(seconds)

    def step_to(self, seconds: int) -> None:
        """In one step for all who look: never a half-written number."""
        draft = self._file.with_suffix(".new")
        draft.write_text(str(seconds))
        draft.rename(self._file)


@contextmanager
def wrong_clocks() -> Iterator[Callable[[int], WrongClock]]:
    """Yields what makes a wall clock that is wrong by so many seconds."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise RuntimeError("no C compiler (cc) is on PATH: apt-get install gcc libc6-dev")
    with tempfile.TemporaryDirectory(prefix="skew-") as folder:
        library = Path(folder) / "skew.so"
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, SOURCE], check=True)
        yield lambda seconds: WrongClock(library, seconds)
