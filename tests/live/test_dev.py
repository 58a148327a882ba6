"""What `make run` starts, with nothing set and nothing there: the README's way, to Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.live.audio import listen, resemblance
from tests.live.clients import Person
from tests.live.gateway import REPOSITORY
from tests.live.processes import descendants, kill_all, survivors
from tests.live.speech import loudness, sentence
from tests.livekit_server import BINARY, free_port

pytestmark = [pytest.mark.anyio, pytest.mark.needs("livekit-server"), pytest.mark.alone]

READY = 30.0
SERVED = 15.0
ENDS = 15.0
SPEECH = 0.02
ALIKE = 0.7
USUAL_PORTS = ((socket.SOCK_STREAM, 7880), (socket.SOCK_STREAM, 7881), (socket.SOCK_DGRAM, 7882))


@pytest.fixture
def usual_ports_taken() -> Iterator[None]:
    """LiveKit's usual ports belong to somebody else: two of these tests can run on one machine."""
    with contextlib.ExitStack() as stack:
        for kind, port in USUAL_PORTS:
            holder = stack.enter_context(socket.socket(socket.AF_INET, kind))
            with contextlib.suppress(OSError):  # then somebody has it already
                holder.bind(("127.0.0.1", port))
        yield


@contextlib.contextmanager
def roomkeeper_dev(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m gateway dev --with-livekit` as in a terminal: a process group, a folder, no setting."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("LIVEKIT_", "ROOMKEEPER_", "AGENT_"))}
    with (folder / "dev.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "dev", "--with-livekit", "--port", str(port)],
            cwd=folder,
            env={**env, "PYTHONPATH": str(REPOSITORY)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    except BaseException:
        print((folder / "dev.log").read_text(errors="replace")[-6000:])
        raise
    finally:
        kill_all(descendants(process.pid))
        process.wait()


async def ready(http: httpx.AsyncClient) -> None:
    deadline = time.monotonic() + READY
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            if (await http.get("/readyz")).status_code == 200:
                return
        await asyncio.sleep(0.1)
    raise AssertionError(f"not ready in {READY} s")


@pytest.mark.usefixtures("usual_ports_taken")
async def test_make_run_serves_a_person_and_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    """The README, step by step: the POST says `joined`, the token opens the room, the echo comes; Ctrl-C."""
    port = free_port(socket.SOCK_STREAM)
    here = f"http://127.0.0.1:{port}"
    with roomkeeper_dev(tmp_path, port) as process:
        async with httpx.AsyncClient(base_url=here, timeout=30) as http:
            await ready(http)
            body = {"jobType": "start_agent", "roomName": "demo"}
            job = (await http.post("/api/livekit/job?wait=10", json=body)).json()["result"]
            assert job["state"] == "joined", job
            token = (await http.get("/api/token?room=demo&name=me")).json()
        me = Person(token["url"], "", "", "demo", "me", token=token["token"])
        async with me as person, person.microphone() as voice:
            track = await person.agent_track(timeout=SERVED)
            assert track.identity == job["agentIdentity"]
            said = sentence(2.0)
            voice.speak(said)
            heard = await listen(track.track, 7.0)
            assert loudness(heard) > SPEECH / 2
            assert resemblance(said, heard) > ALIKE
            assert person.max_agents == 1

            processes = descendants(process.pid)
            assert BINARY in {p.name() for p in processes}
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does
            try:
                assert await asyncio.to_thread(process.wait, ENDS) == 0
                assert await asyncio.to_thread(survivors, processes, timeout=1.0) == []
            finally:
                kill_all(processes)
