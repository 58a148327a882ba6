"""`roomkeeper rooms` and `stop` beside a real gateway, and what the shell completes."""

from __future__ import annotations

import asyncio
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator

import pytest

from tests.live.checking import Place, place

pytestmark = [pytest.mark.anyio, pytest.mark.needs("livekit-server")]

SOON = 15.0


@pytest.fixture(scope="module")
async def sound() -> AsyncIterator[Place]:
    async with place(None) as sound:
        yield sound


async def done(place: Place, *arguments: str, **env: str) -> tuple[int, str, str]:
    process = place.begin(*arguments, **env)
    out, err = await asyncio.to_thread(process.communicate, timeout=30)
    assert "Traceback" not in err, err
    return process.returncode, out, err


async def test_rooms_are_shown_with_state_stage_and_process(sound: Place) -> None:
    """One line for each want; plain text in a pipe, nothing cut."""
    job = (await sound.gateway.ask("shown-in-a-table", wait=10)).job
    claim = (await sound.gateway.http.get("/api/livekit/rooms/shown-in-a-table")).json()["claims"][0]

    code, out, _ = await done(sound, "rooms")

    assert (code, job["state"]) == (0, "joined")
    [line] = [line for line in out.splitlines() if line.startswith("shown-in-a-table ")]
    words = line.split()
    assert words[1:3] == ["test-agent", "joined"]
    assert {"open", f"{claim['pid']}@{claim['replica'][-6:]}"} <= set(words)
    assert "\x1b" not in out


async def test_watching_goes_on_through_a_restart(sound: Place) -> None:
    """It says that the gateway is away, shows the rooms when it is back, and ends on Ctrl-C with 0."""
    process = sound.begin("rooms", "--watch", "--json")
    assert process.stdout is not None
    told: queue.Queue[dict[str, object]] = queue.Queue()
    lines = process.stdout

    def read() -> None:
        for line in lines:
            told.put(json.loads(line))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        await until(told, "rooms")
        sound.gateway.kill()
        await until(told, "fault")
        await sound.gateway.start()
        await until(told, "rooms")
    finally:
        process.send_signal(signal.SIGINT)
        try:
            await asyncio.to_thread(process.wait, 10)
        finally:
            process.kill()  # else the reader, and with it this process, would wait for it
        reader.join()
        lines.close()
    assert process.returncode == 0
    assert process.stderr is not None
    with process.stderr as err:
        assert "Traceback" not in err.read()


async def until(told: queue.Queue[dict[str, object]], field: str) -> None:
    async with asyncio.timeout(SOON):
        while field not in await asyncio.to_thread(told.get, timeout=SOON):
            pass


async def test_rooms_of_no_gateway_are_an_error_in_words(sound: Place) -> None:
    """Exit code 1."""
    code, _, err = await done(sound, "rooms", "--url", "http://127.0.0.1:1")
    assert (code, "nothing answers at http://127.0.0.1:1" in err) == (1, True)


async def test_a_stop_says_what_was_stopped(sound: Place) -> None:
    """The first one ends the agent; the second finds nobody: exit code 1, in words."""
    job = (await sound.gateway.ask("stopped-by-hand", wait=10)).job
    first = await done(sound, "stop", "stopped-by-hand")
    second = await done(sound, "stop", "stopped-by-hand")
    other = await done(sound, "stop", "stopped-by-hand", "--agent", "clerk")

    assert (first[0], second[0], other[0]) == (0, 1, 1)
    assert job["jobId"] in first[1]
    assert "nothing was stopped" in second[2]
    assert "'clerk'" in other[2]
    assert (await sound.gateway.job(job["jobId"])).job["state"] == "stopped"


@pytest.mark.parametrize(
    "shell",
    [
        {
            "_ROOMKEEPER_COMPLETE": "complete_bash",
            "COMP_WORDS": "roomkeeper stop complete",
            "COMP_CWORD": "2",
        },
        {"_ROOMKEEPER_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "roomkeeper stop complete"},
        {
            "_ROOMKEEPER_COMPLETE": "complete_fish",
            "_TYPER_COMPLETE_ARGS": "roomkeeper stop complete",
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        },
    ],
    ids=["bash", "zsh", "fish"],
)
async def test_the_shell_completes_rooms(sound: Place, shell: dict[str, str]) -> None:
    """Those in which an agent is wanted; none that would mean something to the shell."""
    for room in ("complete-me", "complete-$(date)"):
        await sound.gateway.ask(room)
    code, out, _ = await done(sound, **shell)
    assert code == 0
    assert "complete-me" in out
    assert "date" not in out
    silence = await done(sound, **shell, ROOMKEEPER_PORT="1")
    assert "complete-me" not in silence[1]


async def test_bash_takes_the_script(sound: Place) -> None:
    """As `--install-completion` installs it: bash calls it at a TAB, and has the room's name."""
    await sound.gateway.ask("tab-completes-me")
    bash = (
        'eval "$(_ROOMKEEPER_COMPLETE=source_bash roomkeeper)"; COMP_WORDS=(roomkeeper stop tab); '
        'COMP_CWORD=2; _roomkeeper_completion roomkeeper tab stop; echo "${COMPREPLY[@]}"'
    )
    path = os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]
    told = await asyncio.to_thread(
        subprocess.run,
        ["bash", "-c", bash],
        env={**os.environ, **sound.env, "PATH": path},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert told.stdout.split() == ["tab-completes-me"]
