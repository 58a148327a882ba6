"""Preloaded by the forkserver, and imported by nothing else: loads what all job processes share, and ties the
forkserver's life to the worker's.

Otherwise it would outlive a killed worker for as long as one of its jobs does, since each of them holds the
pipe whose end it waits for; and the jobs' own tie to their parent would mean nothing (fact 13).
"""

from __future__ import annotations

import contextlib

from pool.compat import load_certificates, load_rtc_library
from pool.guard import die_with_parent

die_with_parent()
with contextlib.suppress(OSError):  # job processes will say so, and this one must not end for it
    load_rtc_library()
with contextlib.suppress(OSError):
    load_certificates()
