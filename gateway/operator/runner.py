"""Runs checks: all at once, each when those that it needs are over, in bounded time. Knows none of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Sequence

from gateway.operator.line import Check, Finding, Line, Report, Site, Status, fail, skipped

Told = Callable[[Line], object]


async def run(
    checks: Sequence[Check[Site]],
    site: Site,
    *,
    limit: float,
    skip: Collection[str] = (),
    clean: Callable[[str], str] = str,
    told: Told = lambda line: None,
) -> Report:
    """`limit`: seconds for all of them. `skip`: names that are left out. `clean` goes over every word that
    was found. `told` hears each line in the order of `checks`, as soon as those before it are there."""
    began = time.monotonic()
    deadline = asyncio.get_running_loop().time() + limit
    tasks: dict[str, asyncio.Task[Line]] = {}

    async def one(check: Check[Site]) -> Line:
        finding = skipped("left out by --skip")
        if check.name not in skip:
            before = [await tasks[name] for name in (*check.needs, *check.after) if name in tasks]
            finding = _in_the_way(check, before) or await _in_time(check, site, deadline, limit)
        return Line(check.name, finding.status, clean(finding.found), clean(finding.todo))

    lines: list[Line] = []
    async with asyncio.TaskGroup() as group:
        for check in checks:
            tasks[check.name] = group.create_task(one(check), name=f"check-{check.name}")
        for task in list(tasks.values()):
            line = await task
            told(line)
            lines.append(line)
    return Report(lines, time.monotonic() - began)


def _in_the_way(check: Check[Site], before: Sequence[Line]) -> Finding | None:
    for line in before:
        if line.name in check.needs and line.status in (Status.FAIL, Status.SKIPPED):
            return skipped(f"it needs `{line.name}`, which {_WAS[line.status]}")
    return None


_WAS = {Status.FAIL: "failed", Status.SKIPPED: "was skipped"}


async def _in_time(check: Check[Site], site: Site, deadline: float, limit: float) -> Finding:
    try:
        async with asyncio.timeout_at(deadline):
            return await check.run(site)
    except TimeoutError:
        return fail(f"it was not over after {limit:g} s", "give it more with --timeout, or see what hangs")
    except Exception as fault:  # noqa: BLE001  (a task's root: the other lines are worth as much as before)
        return fail(f"the check itself failed: {type(fault).__name__}: {fault}", "please report it")
