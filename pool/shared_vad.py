"""Preloaded by the forkserver where it is asked for: one Silero model for all job processes.

It is built before they are forked, so that its memory is shared and nobody waits for it; the agent's own
`silero.VAD.load()` gets it. Safe, since the plugin's sessions have one thread and start none: there is none
that a fork could lose (`make bench NAME=prefork`).
"""

from __future__ import annotations

import contextlib
from typing import Any

with contextlib.suppress(ImportError):  # an agent that has no Silero has no use for this either
    from livekit.plugins.silero import onnx_model

    _build = onnx_model.new_inference_session
    _shared = _build(True)

    def _session(force_cpu: bool, onnx_file_path: Any = None) -> Any:
        return _shared if force_cpu and onnx_file_path is None else _build(force_cpu, onnx_file_path)

    onnx_model.new_inference_session = _session
