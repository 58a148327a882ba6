"""The gateway as on a machine of its own: no pid tells it whether another gateway has ended.

Run as `python -m tests.processes.apart dev ...`. Replicas that are played on one machine would see that at
once; in production each mostly has its own, and then only heartbeats and LiveKit tell.
"""

from __future__ import annotations

import importlib
import os

if __name__ == "__main__":
    from gateway.cli import app

    hosts = importlib.import_module("gateway.hosts")
    vars(hosts)["_machine"] = lambda: f"machine-of-{os.getpid()}"
    app()
