"""A short run of each fuzzer, and one that must find what was broken. `make fuzz` runs on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.needs("atheris")

FOUND = 77
"""libFuzzer's exit status."""


def fuzz(target: str, runs: int, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "tests.fuzz",
        target,
        "--runs",
        str(runs),
        "--folder",
        str(folder),
        *more,
    ]
    return subprocess.run(command, check=False, capture_output=True, text=True, errors="replace", timeout=120)


@pytest.mark.parametrize(("target", "runs"), [("webhook", 5000), ("token", 5000), ("door", 1000)])
def test_nothing_is_found(target: str, runs: int, tmp_path: Path) -> None:
    """Neither a way in, nor a verdict that nobody can explain, nor a 5xx."""
    run = fuzz(target, runs, tmp_path)
    assert run.returncode == 0, run.stderr[-4000:]
    assert f"Done {runs} runs" in run.stderr


@pytest.mark.parametrize("target", ["webhook", "token", "door"])
def test_what_is_broken_is_found(target: str, tmp_path: Path) -> None:
    """The signature's comparison, the times of a token, the words for a wrong field."""
    assert fuzz(target, 20_000, tmp_path, "--broken").returncode == FOUND
