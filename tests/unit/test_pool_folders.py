"""Temporary folders: gone when their process is, however it ended."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import pytest

from pool.folders import YOUNG, OwnFolder


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A temporary directory that nobody else uses."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def aged(folder: Path) -> Path:
    """As if it had been made a while ago."""
    past = time.time() - YOUNG - 1
    os.utime(folder, (past, past))
    return folder


def left_behind() -> Path:
    """The folder of a process that was killed: its lock is gone with it."""
    folder = OwnFolder("jobs")
    (folder.path / "jobs.sock").touch()
    os.close(folder._lock)
    return aged(folder.path)


def test_what_a_killed_process_left_is_removed_by_the_next_one() -> None:
    """kill -9 tidies nothing up."""
    left = left_behind()
    OwnFolder("jobs").close()
    assert not left.exists()


def test_the_folder_of_a_process_that_lives_is_left_alone() -> None:
    """However old it is; and so is one of another kind, and one without a lock."""
    lives, other = OwnFolder("jobs"), OwnFolder("livekit")
    strange = Path(tempfile.mkdtemp(prefix="roomkeeper-jobs-"))
    for folder in (lives.path, other.path, strange):
        aged(folder)
    OwnFolder("jobs").close()
    assert lives.path.exists()
    assert other.path.exists()
    assert strange.exists()


def test_a_folder_in_the_making_is_left_alone() -> None:
    """Its process has yet to lock it."""
    folder = OwnFolder("jobs")
    os.close(folder._lock)
    OwnFolder("jobs").close()
    assert folder.path.exists()


def test_a_closed_folder_is_gone() -> None:
    """With all that was in it."""
    folder = OwnFolder("jobs")
    (folder.path / "x").touch()
    folder.close()
    assert not folder.path.exists()
