"""A LiveKit client as a process of its own, for tests that freeze or kill it.

`python -m tests.contract.client URL TOKEN` prints `joined` once it is in the room, and `blocked` when told to
block its event loop. It leaves when its input ends.
"""

from __future__ import annotations

import asyncio
import sys
import time

from livekit import rtc

BLOCK = 30.0


async def main(url: str, token: str) -> None:
    room = rtc.Room()
    await room.connect(url, token)
    print("joined", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        if line.strip() == "block":
            print("blocked", flush=True)
            time.sleep(BLOCK)  # noqa: ASYNC251  (that is what it is for)
    await room.disconnect()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
