"""A poor man's container, for where no engine is at hand: namespaces, and this machine under an overlay.

What a box changes is in its own folder; this machine's files are below it and stay as they are. So it is no
proof that an image lacks nothing which this machine has, and a proof of all else. Needs Linux and root.
"""

from __future__ import annotations

import functools
import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

STEP_TIMEOUT = 600.0
_NAMESPACES = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--")
_NOBODY = ("--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all")


@dataclass(frozen=True, slots=True)
class Box:
    """A file system: this machine's, and over it a folder for what is written."""

    folder: Path

    @property
    def upper(self) -> Path:
        return self.folder / "upper"

    def make(self, *, like: Box | None = None) -> Box:
        """Empty, or with all that is in another one."""
        for name in ("upper", "work", "merged"):
            (self.folder / name).mkdir(parents=True)
        if like:  # whiteouts and attributes of the overlay included
            subprocess.run(["cp", "-a", f"{like.upper}/.", str(self.upper)], check=True)
        return self

    def _mount(self) -> list[str]:
        merged = self.folder / "merged"
        options = f"lowerdir=/,upperdir={self.upper},workdir={self.folder / 'work'}"
        return [
            f"mount -t overlay overlay -o {options} {merged}",
            f"mount -t proc proc {merged}/proc",
            f"mount --bind /dev {merged}/dev",
        ]

    def run(
        self,
        script: str,
        *,
        env: Mapping[str, str],
        workdir: str = "/",
        mounts: Mapping[Path, str] | None = None,
    ) -> str:
        """Run a shell script in it as root, and return its output. `mounts`: folders of ours, seen there."""
        merged, lines = self.folder / "merged", self._mount()
        for source, target in (mounts or {}).items():
            lines += [f"mkdir -p {merged}{target}", f"mount --bind {source} {merged}{target}"]
        inner = f"mkdir -p {workdir} && cd {workdir} && {script}"
        lines.append(f"exec chroot {merged} {_env(env)} sh -ec {shlex.quote(inner)}")
        command = [*_NAMESPACES, "sh", "-euc", "\n".join(lines)]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=STEP_TIMEOUT
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}"
        return done.stdout

    def start(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        workdir: str,
        user: int,
        writable: Sequence[str],
        output: int,
    ) -> subprocess.Popen[bytes]:
        """Start a command in it as its process 1: another user, no capabilities, nothing to write to but
        fresh `writable` folders. The process that is returned is its parent."""
        merged, lines = self.folder / "merged", self._mount()
        lines += [f"mount -o remount,ro {merged}"]
        lines += [f"mount -t tmpfs -o mode=1777 tmpfs {merged}{folder}" for folder in writable]
        inside = f"cd {workdir} && exec {as_user(user)} {shlex.join(command)}"
        lines.append(f"exec chroot {merged} {_env(env)} sh -ec {shlex.quote(inside)}")
        started = [*_NAMESPACES, "sh", "-euc", "\n".join(lines)]
        return subprocess.Popen(started, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)


def as_user(user: int) -> str:
    return shlex.join(["setpriv", f"--reuid={user}", f"--regid={user}", *_NOBODY])


def in_the_box_of(pid: int, command: Sequence[str], *, env: Mapping[str, str], user: int) -> int:
    """Run a command beside a process of a box, as `docker exec` would; its exit code."""
    inside = ["nsenter", f"--target={pid}", "--mount", "--pid", "--root", "--wd", "--", *_env(env).split()]
    return subprocess.run([*inside, *as_user(user).split(), *command], timeout=60).returncode


def _env(env: Mapping[str, str]) -> str:
    return shlex.join(["env", "-i", *(f"{name}={value}" for name, value in env.items())])


@functools.cache
def can_box() -> bool:
    """Whether this process may make one."""
    if os.geteuid() != 0 or not all(shutil.which(tool) for tool in ("unshare", "setpriv", "nsenter")):
        return False
    return subprocess.run([*_NAMESPACES, "true"], capture_output=True, timeout=10).returncode == 0
