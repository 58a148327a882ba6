"""A Silero VAD for four processes: built once before they are forked, or in each of them.

What is shared is memory and the time to build it. What it costs is how long one step of 32 ms of sound takes:
a model that was built before the fork is slower in the children.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import statistics
import sys
import time
from collections.abc import Sequence

from bench.report import Row

NAME = "prefork"
N = 3
"""Runs of each variant, in turn."""
PROCESSES = 4
STEPS = 1500
"""48 s of sound."""
SETTLED = 500
"""Steps that are not counted: the first ones touch memory for the first time."""


async def run(n: int = N) -> tuple[Sequence[Row], Sequence[str]]:
    found: dict[str, list[dict[str, float]]] = {"shared": [], "each": []}
    for _ in range(n):
        for variant in found:
            command = [sys.executable, "-m", "bench.prefork", variant]
            process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
            out, _ = await process.communicate()
            found[variant].append(json.loads(out))
    rows = [
        {
            "variant": variant,
            "n": n,
            "lost": 0,
            "mb": round(statistics.median(run["mb"] for run in runs)),
            "load_ms": round(statistics.median(run["load_ms"] for run in runs)),
            "step_ms": round(statistics.median(run["step_ms"] for run in runs), 2),
        }
        for variant, runs in found.items()
    ]
    return rows, [
        f"{PROCESSES} processes, one after the other at work; mb: PSS of all and of the one that forked them",
        f"step_ms: median of {STEPS - SETTLED} steps of 32 ms of sound, after {SETTLED} that are not counted",
    ]


def measure(variant: str) -> dict[str, float]:
    """Fork, and let each child tell over a pipe. Blocks."""
    from livekit.plugins.silero import onnx_model

    from pool.memory import pss

    built = onnx_model.new_inference_session(True) if variant == "shared" else None
    children = [_child(built) for _ in range(PROCESSES)]
    told = []
    for _, go, answer in children:
        os.write(go, b"1")
        told.append(json.loads(os.read(answer, 1000)))
    memory = sum(pss(pid) or 0 for pid in [os.getpid(), *(child[0] for child in children)])
    for pid, _, _ in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return {
        "mb": memory / 1e6,
        "load_ms": statistics.median(t["load_ms"] for t in told),
        "step_ms": statistics.median(t["step_ms"] for t in told),
    }


def _child(built: object) -> tuple[int, int, int]:
    """Its pid, where it is told to begin, and where it answers."""
    wait, go = os.pipe()
    answer, tell = os.pipe()
    pid = os.fork()
    if pid:
        os.close(wait)
        os.close(tell)
        return pid, go, answer
    os.close(go)
    os.read(wait, 1)
    os.write(tell, json.dumps(_work(built)).encode())
    signal.pause()  # its memory is looked at, and then it is ended
    os._exit(1)


def _work(built: object) -> dict[str, float]:
    import numpy
    from livekit.plugins.silero import onnx_model

    began = time.perf_counter()
    session = built or onnx_model.new_inference_session(True)
    load = time.perf_counter() - began
    model = onnx_model.OnnxModel(onnx_session=session, sample_rate=16000)
    sound = numpy.zeros(model.window_size_samples, dtype=numpy.float32)
    steps = []
    for _ in range(STEPS):
        began = time.perf_counter()
        model(sound)
        steps.append(time.perf_counter() - began)
    return {"load_ms": 1000 * load, "step_ms": 1000 * statistics.median(steps[SETTLED:])}


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1])))
