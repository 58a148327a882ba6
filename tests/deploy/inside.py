"""Runs the image in a network of its own, which leads nowhere: nothing but a livekit-server is in it.

`unshare --net python -m tests.deploy.inside FOLDER DOCKERFILE` prints what was seen, as JSON.
"""

from __future__ import annotations

import json
import re
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import psutil

from gateway.livekit.tokens import mint_operator
from tests.deploy.boxes import in_the_box_of
from tests.deploy.build import Image, command, healthcheck, rebuilt
from tests.livekit_server import LiveKitServer

PORT = 8080
DOOR = f"http://127.0.0.1:{PORT}"
WRITABLE = ("/tmp", "/data")
READY_TIMEOUT = 60.0
END_TIMEOUT = 30.0
NO_WRITING = re.compile(rb"Read-only file system|Permission denied|Errno 30|Errno 13")


def main(folder: Path, dockerfile: Path) -> dict[str, Any]:
    image = rebuilt(folder, dockerfile.read_text())
    make_network()
    key, secret = "image-test", secrets.token_hex(32)
    env = {"LIVEKIT_API_KEY": key, "LIVEKIT_API_SECRET": secret, "ROOMKEEPER_SLOTS": "2"}
    log = folder / "log"
    with LiveKitServer(key=key, secret=secret) as livekit, log.open("wb") as output:
        env |= {"LIVEKIT_URL": livekit.url, **image.env}
        began = time.monotonic()
        box = image.box.start(
            command(image),
            env=env,
            workdir=image.workdir,
            user=image.user,
            writable=WRITABLE,
            output=output.fileno(),
        )
        try:
            seen = watched(box, image, env, began, mint_operator(key, secret, identity="tests", ttl=600))
        finally:
            box.kill()  # and with it all that is in the box
            box.wait()
    return seen | {"refused_writes": len(NO_WRITING.findall(log.read_bytes()))}


def watched(
    box: subprocess.Popen[bytes], image: Image, env: dict[str, str], began: float, token: str
) -> dict[str, Any]:
    """Wait until it lives and is ready, have it bring an agent, and end it."""
    seen: dict[str, Any] = {
        "alive_s": answered(box, "/livez", began),
        "ready_s": answered(box, "/readyz", began),
    }
    (main,) = psutil.Process(box.pid).children()
    family = [main, *main.children(recursive=True)]
    seen["users"] = sorted({process.uids().effective for process in family})
    seen["capabilities"] = sorted({capabilities(process.pid) for process in family})
    seen["healthcheck"] = in_the_box_of(main.pid, healthcheck(image), env=env, user=image.user)
    wrong_port = {**env, "ROOMKEEPER_PORT": "1"}
    seen["healthcheck_of_nobody"] = in_the_box_of(
        main.pid, healthcheck(image), env=wrong_port, user=image.user
    )
    seen["started"], seen["stopped"] = job("start_agent", token), job("stop_agent", token)
    main.send_signal(getattr(signal, image.stage.last("STOPSIGNAL").text))
    seen["exit_code"] = box.wait(END_TIMEOUT)
    return seen


def job(what: str, token: str) -> str:
    """Ask for that; the job's state."""
    answer = httpx.post(
        f"{DOOR}/api/livekit/job?wait=20",
        json={"jobType": what, "roomName": "image"},
        headers={"authorization": f"Bearer {token}"},
        timeout=30,
    )
    return str(answer.json().get("result", {}).get("state", answer.text))


def answered(box: subprocess.Popen[bytes], path: str, began: float) -> float:
    """Seconds from the start until it answers 200."""
    while (now := time.monotonic() - began) < READY_TIMEOUT and box.poll() is None:
        try:
            if httpx.get(DOOR + path, timeout=5).status_code == 200:
                return round(now, 2)
        except httpx.TransportError:
            pass
        time.sleep(0.02)
    raise AssertionError(f"{path} was not answered within {READY_TIMEOUT:g} s")


def capabilities(pid: int) -> str:
    """The effective ones, as the kernel writes them."""
    status = Path(f"/proc/{pid}/status").read_text()
    return status.partition("CapEff:")[2].split()[0]


def make_network() -> None:
    """Loopback, and a cable to itself: WebRTC takes no loopback where it would have to take it alone."""
    for words in (
        "link set lo up",
        "link add here type veth peer name there",
        "address add 10.99.0.1/24 dev here",
        "link set here up",
        "link set there up",
    ):
        subprocess.run(["ip", *words.split()], check=True)


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]))))
