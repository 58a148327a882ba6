"""`roomkeeper check`: what people lose days on, found by one command. The list of checks, and its run.

Exit codes: 0 when nothing fails (warnings are allowed), 1 when something does, 2 when the settings cannot be
read, 130 after Ctrl-C.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import NoReturn

from gateway.environment import read
from gateway.errors import SettingsError
from gateway.operator import agent, host, livekit, media, processes, show, store
from gateway.operator.door import url_of
from gateway.operator.line import Check, Finding, Line, Report, Status, ok, warn
from gateway.operator.runner import run
from gateway.operator.secrets import cleaner
from gateway.operator.site import Site, open_site
from gateway.settings import Settings

INTERRUPTED = 130


async def _settings(site: Site) -> Finding:
    if not site.unfit:
        return ok("as `roomkeeper start` needs them")
    return warn("; ".join(site.unfit), "only `roomkeeper dev` takes them: mend that before you go on")


CHECKS: Sequence[Check[Site]] = (
    Check(name="settings", run=_settings),
    Check(name="livekit", run=livekit.url),
    Check(name="clock", run=livekit.clock, needs=["livekit"]),
    Check(name="key", run=livekit.key, needs=["livekit"]),
    Check(name="room", run=livekit.room, needs=["key"]),
    Check(name="version", run=livekit.version, needs=["room"]),
    Check(name="media", run=media.media, needs=["room"]),
    Check(name="store", run=store.store),
    Check(name="gateway", run=processes.gateway),
    Check(name="ready", run=processes.ready, needs=["gateway"]),
    Check(name="worker", run=processes.worker, needs=["gateway"]),
    Check(name="webhooks", run=processes.webhooks, needs=["gateway", "room"]),
    Check(name="agent", run=agent.agent, needs=["gateway", "room"], after=["media"]),
    Check(name="files", run=host.files),
    Check(name="memory", run=host.memory),
    Check(name="cores", run=host.cores),
    Check(name="temporary", run=host.temporary),
    Check(name="lsb_release", run=host.lsb_release),
)
NAMES = tuple(check.name for check in CHECKS)


def main(
    env: Mapping[str, str],
    *,
    url: str = "",
    agent: str = "",
    limit: float = 30.0,
    json: bool = False,
    skip: Collection[str] = (),
) -> int:
    """`env`: as the gateway has it. Returns the exit code. Raises SettingsError."""
    if unknown := sorted(set(skip) - set(NAMES)):
        raise SettingsError([f"--skip: no line is called {unknown[0]!r}; there are {', '.join(NAMES)}"])
    try:
        settings, unfit = readable(env)
        url = url_of(settings, url)
    except SettingsError as error:
        if json:
            show.as_json(Report([Line("settings", Status.FAIL, "; ".join(error.faults), "mend them")], 0.0))
        raise
    printer = show.Printer(quiet=json)
    try:
        with asyncio.Runner() as runner:
            report = runner.run(
                _checked(settings, unfit, url=url, agent=agent, limit=limit, skip=skip, told=printer.line)
            )
    except (KeyboardInterrupt, asyncio.CancelledError):
        return INTERRUPTED
    if json:
        show.as_json(report)
    printer.end(report)
    return 0 if report.ok else 1


def leave(code: int) -> NoReturn:
    """Ends this process. livekit-rtc's native threads may have something to tell while the interpreter ends,
    which aborts it (S20): it does not get that far."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def readable(env: Mapping[str, str]) -> tuple[Settings, Sequence[str]]:
    """The settings, and what `start` would refuse in them. Raises SettingsError when nobody can use them."""
    settings = read(env, dev=True)
    try:
        return read(env, dev=False), ()
    except SettingsError as error:
        return settings, error.faults


async def _checked(
    settings: Settings,
    unfit: Sequence[str],
    *,
    url: str,
    agent: str,
    limit: float,
    skip: Collection[str],
    told: show.Told,
) -> Report:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)  # as Ctrl-C: nothing is left
    async with open_site(settings, unfit, url=url, agent=agent, limit=limit) as site:
        return await run(CHECKS, site, limit=limit, skip=skip, clean=cleaner(settings), told=told)
