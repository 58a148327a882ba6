"""The first thing that the forkserver imports: what is imported after it is looked through for garbage once,
by livekit-agents' own last module, and not some hundred times.
"""

from __future__ import annotations

import gc
import signal

signal.signal(
    signal.SIGINT, signal.SIG_IGN
)  # Ctrl-C is the gateway's; the forkserver heeds it while it imports
gc.disable()  # job processes enable it again: `pool.child.prepare`
