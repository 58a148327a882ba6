"""What livekit-agents and onnxruntime read from the environment while they are imported or forked."""

from __future__ import annotations

import os
import ssl


def prepare() -> None:
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # fact 36
    os.environ.setdefault("LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE", "0")  # fact 39: 60 MB a process
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)  # fact 60
    _set_trust_store()


def _set_trust_store() -> None:
    """Where the system has no CA certificates, those of `certifi` count, for job processes and their native
    library as well. livekit-agents says so, too, but when the forkserver has its environment already."""
    if os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR"):
        return
    system = ssl.get_default_verify_paths()
    if not system.cafile and not system.capath:
        import certifi

        os.environ["SSL_CERT_FILE"] = certifi.where()
