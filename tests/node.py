"""LiveKit's client for browsers, where `make livekit-client` put it."""

from __future__ import annotations

from pathlib import Path

NODE_MODULES = Path(__file__).parents[1] / ".tools" / "js" / "node_modules"
