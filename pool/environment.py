"""What livekit-agents and onnxruntime read from the environment while they are imported or forked."""

from __future__ import annotations

import os


def prepare() -> None:
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # fact 36
    os.environ.setdefault("LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE", "0")  # fact 39: 60 MB a process
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)  # fact 60
