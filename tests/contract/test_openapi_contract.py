"""schemathesis holds the front door to its own description, over a real socket: what is described is what is
answered, what is not described is refused, and nothing is ever a 500.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import anyio
import pytest

from gateway.environment import read
from gateway.listening import listen
from gateway.server import Signals, serve
from tests.door import PRODUCTION, door_of, operator
from tests.fakes.livekit import FakeLiveKit

pytestmark = pytest.mark.anyio

EXAMPLES = 20
"""For each operation and kind of data."""
NOT_CHECKED = (
    # A schema counts characters, our limits count bytes: 256 of "ä" are too many.
    "positive_data_acceptance",
    # Stateful: an agent that was asked for is there until it is stopped, whatever else is deleted.
    "ensure_resource_availability",
    "use_after_free",
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_the_front_door_is_as_it_is_described(tmp_path: Path) -> None:
    """Closed as in production, asked by an operator and by nobody."""
    async with FakeLiveKit(clock=time.time) as world:
        door = door_of(read(PRODUCTION, dev=False), world)
        door.keeper.patience = 0.01
        with listen("127.0.0.1", 0) as listener:
            async with serve(door.app, listener, Signals()):
                url = f"http://127.0.0.1:{listener.getsockname()[1]}/openapi.json"
                run = await anyio.run_process(
                    [
                        str(Path(sys.executable).parent / "schemathesis"),
                        *("run", url, "--no-color", "--seed", "1", "--max-examples", str(EXAMPLES)),
                        *("--phases", "examples,coverage,fuzzing", "--checks", "all"),
                        *("--exclude-checks", ",".join(NOT_CHECKED)),
                        *("-H", f"Authorization: {operator()['authorization']}"),
                    ],
                    check=False,
                    cwd=tmp_path,
                )
        await door.http.aclose()
    assert run.returncode == 0, run.stdout.decode()[-8000:]
