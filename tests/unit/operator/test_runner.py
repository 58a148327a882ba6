"""Checks are run at once, in bounded time, and what hangs or breaks costs the others nothing."""

from __future__ import annotations

import asyncio

import pytest

from gateway.operator.line import Check, Finding, Line, Status, fail, ok
from gateway.operator.runner import run

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def fine(site: None) -> Finding:
    return ok("fine")


async def broken(site: None) -> Finding:
    return fail("broken", "mend it")


async def hangs(site: None) -> Finding:
    await asyncio.Event().wait()
    raise AssertionError


async def bug(site: None) -> Finding:
    raise KeyError("nobody thought of it")


def statuses(lines: list[Line]) -> dict[str, Status]:
    return {line.name: line.status for line in lines}


async def test_what_needs_a_failed_one_is_skipped() -> None:
    """And what needs that; the line says which."""
    checks = [
        Check(name="a", run=broken),
        Check(name="b", run=fine, needs=["a"]),
        Check(name="c", run=fine, needs=["b"]),
        Check(name="d", run=fine, after=["a"]),
    ]
    report = await run(checks, None, limit=5)
    assert statuses(list(report.lines)) == {
        "a": Status.FAIL,
        "b": Status.SKIPPED,
        "c": Status.SKIPPED,
        "d": Status.OK,
    }
    assert "`a`" in report.lines[1].found
    assert not report.ok


async def test_one_that_hangs_fails_at_the_limit() -> None:
    """The others were told long before."""
    told: list[str] = []
    checks = [Check(name="a", run=fine), Check(name="b", run=hangs), Check(name="c", run=fine)]
    report = await run(checks, None, limit=0.05, told=lambda line: told.append(line.name))
    assert [line.status for line in report.lines] == [Status.OK, Status.FAIL, Status.OK]
    assert told == ["a", "b", "c"]


async def test_a_fault_of_a_check_is_a_line() -> None:
    """The others are looked at all the same."""
    report = await run([Check(name="a", run=bug), Check(name="b", run=fine)], None, limit=5)
    assert [line.status for line in report.lines] == [Status.FAIL, Status.OK]
    assert "KeyError" in report.lines[0].found


async def test_what_is_left_out_is_no_failure() -> None:
    """`--skip`: that check is not run, and what needs it is skipped."""
    checks = [Check(name="a", run=broken), Check(name="b", run=fine, needs=["a"])]
    report = await run(checks, None, limit=5, skip=["a"])
    assert [line.status for line in report.lines] == [Status.SKIPPED, Status.SKIPPED]
    assert report.ok


async def test_every_word_is_cleaned() -> None:
    """Of what was found and of what to do."""
    report = await run([Check(name="a", run=broken)], None, limit=5, clean=str.upper)
    assert (report.lines[0].found, report.lines[0].todo) == ("BROKEN", "MEND IT")
