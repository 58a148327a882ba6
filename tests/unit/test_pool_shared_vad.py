"""One Silero model for several processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = """
import json, os
import pool.shared_vad
import numpy
from livekit.plugins import silero
from livekit.plugins.silero import onnx_model

def heard(vad):
    model = onnx_model.OnnxModel(onnx_session=vad._onnx_session, sample_rate=16000)
    sound = numpy.sin(numpy.arange(512, dtype=numpy.float32) / 9)
    return [round(float(model(sound)), 6) for _ in range(3)]

vad, other = silero.VAD.load(), silero.VAD.load()
own = silero.VAD.load(force_cpu=False)
told = {
    "one": vad._onnx_session is other._onnx_session,
    "apart": own._onnx_session is not vad._onnx_session,
    "threads": len(os.listdir("/proc/self/task")),
    "here": heard(own),
}
read, write = os.pipe()
if os.fork() == 0:
    os.write(write, json.dumps(heard(silero.VAD.load())).encode())
    os._exit(0)
told["in_the_child"] = json.loads(os.read(read, 1000))
os.wait()
print(json.dumps(told))
"""


def test_a_child_hears_with_the_model_that_was_built_before_it() -> None:
    """The same as with a model of its own; and building it starts no thread, which a fork would lose."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=ROOT,
        env={"PATH": "", "ORT_DISABLE_TELEMETRY": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    told = json.loads(done.stdout)
    assert told["one"]
    assert told["apart"], "one that asks for other providers gets a model of its own"
    assert told["in_the_child"] == told["here"]
    assert told["threads"] == baseline_threads()


def baseline_threads() -> int:
    """Threads that the imports start by themselves."""
    script = "import os, numpy; from livekit.plugins import silero; print(len(os.listdir('/proc/self/task')))"
    env = {"PATH": "", "ORT_DISABLE_TELEMETRY": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=env, capture_output=True, text=True, check=True
    )
    return int(done.stdout)
