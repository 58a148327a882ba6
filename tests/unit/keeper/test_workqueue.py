"""The queue's contract, as its module states it."""

from __future__ import annotations

import random

import anyio
import pytest

from gateway.keeper.workqueue import WorkQueue

pytestmark = pytest.mark.anyio


def a_queue() -> WorkQueue:
    return WorkQueue(anyio.current_time, random.Random(1))


async def test_a_storm_of_adds_is_one_look() -> None:
    """Keys, never events."""
    queue = a_queue()
    for _ in range(1000):
        queue.add("r")
    assert await queue.get() == "r"
    queue.done("r")
    with anyio.move_on_after(60) as nothing_more:
        await queue.get()
    assert nothing_more.cancelled_caught


async def test_a_key_in_hand_is_given_to_nobody_else_and_comes_again_when_done() -> None:
    """One key in one pair of hands, and nothing that came meanwhile is lost."""
    queue = a_queue()
    queue.add("r")
    await queue.get()
    queue.add("r")
    with anyio.move_on_after(60) as held:
        await queue.get()
    assert held.cancelled_caught
    queue.done("r")
    assert await queue.get() == "r"


async def test_a_key_comes_at_its_due_time_and_not_before() -> None:
    """Due times are kept, in order of time."""
    queue = a_queue()
    start = anyio.current_time()
    queue.add("late", start + 20)
    queue.add("early", start + 10)
    assert await queue.get() == "early"
    assert anyio.current_time() - start == pytest.approx(10)
    assert await queue.get() == "late"
    assert anyio.current_time() - start == pytest.approx(20)


async def test_the_earlier_of_two_due_times_stays() -> None:
    """A hint makes the keeper look earlier, never later."""
    queue = a_queue()
    start = anyio.current_time()
    queue.add("r", start + 10)
    queue.add("r", start + 99)
    queue.add("r", start + 5)
    await queue.get()
    assert anyio.current_time() - start == pytest.approx(5)
    assert len(queue) == 0


async def test_an_add_wakes_a_reader_that_waits_for_a_later_key() -> None:
    """Nobody sleeps through an event."""
    queue = a_queue()
    queue.add("later", anyio.current_time() + 100)
    got: list[str] = []

    async def read() -> None:
        got.append(await queue.get())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        await anyio.sleep(1)
        queue.add("now")
    assert got == ["now"]


async def test_failures_put_a_key_off_longer_each_time_and_success_forgets_them() -> None:
    """Back-off with a bound, so that a broken room costs little and is never given up."""
    queue = a_queue()
    delays = []
    for _ in range(10):
        delays.append(queue.fail("r"))
        assert await queue.get() == "r"
        queue.done("r")
    assert delays[0] < 0.2 < delays[3]
    assert 3 < delays[-1] < 7
    queue.succeed("r")
    assert queue.fail("r") < 0.2


async def test_due_times_that_do_not_hold_any_more_are_not_kept() -> None:
    """A key that is looked at again and again before its time leaves nothing behind."""
    queue = a_queue()
    for _ in range(5000):
        queue.add("r", anyio.current_time() + 300)
        queue.add("r")
        await queue.get()
        queue.done("r")
    assert queue.remembered < 3000


async def test_it_tells_whether_a_look_is_to_come_or_under_way() -> None:
    """One that is due later does not count: until then nobody looks."""
    queue = a_queue()
    queue.add("later", anyio.current_time() + 10)
    queue.add("now")
    assert not queue.expects("later")
    assert queue.expects("now")
    assert await queue.get() == "now"
    assert queue.expects("now")
    queue.done("now")
    assert not queue.expects("now")
