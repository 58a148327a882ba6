"""What watches all logs sees what it is for, and nothing else."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from gateway.livekit.tokens import mint
from tests.canary import secrets_in

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "text",
    [
        mint("key", "secret-of-more-than-32-bytes-length", room="r", identity="a", ttl=60),
        f"Bearer {mint('key', 'x' * 32, room='r', identity='a', ttl=60)[:-20]}",
        "ROOMKEEPER_STORE=redis://user:hunter2@10.0.0.7:6379/0",
        "signed with whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo=",
        "secret=site-secret-of-more-than-32-bytes-length",
    ],
)
def test_a_secret_is_seen(text: str) -> None:
    """In whatever it is wrapped; and what is found is not shown."""
    (found,) = secrets_in(f"2026-11-22 [info] something {text} happened")
    assert text[-10:] not in found


def test_no_token_is_in_the_repository() -> None:
    """Nor any that a tool left behind."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this is no clone")
    files = [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]
    assert len(files) > 100
    found = {path.name for path in files if "a token" in secrets_in(path.read_text(errors="replace"))}
    assert found <= {"test_logs.py"}  # what looks like one there is struck out


def test_ordinary_lines_are_none() -> None:
    """Ids, SIDs, URLs without a password, a token that was struck out."""
    assert not secrets_in(
        "agent_joined room=r job=job_9391fec0a12861da6485a411 sid=RM_QdpjgzDBneWb url=ws://127.0.0.1:7880"
        " redis://***:***@host Authorization: Bearer (a token) eyJ"
    )
