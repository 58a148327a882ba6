"""What is told about a job comes in order, whatever order upstream's events and the reports come in."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from pool.jobs import Jobs
from pool.metrics import PoolMetrics
from pool.ports import JobEvent, Offer, Verdict
from pool.ports import JobEventKind as Kind
from pool.reports import Report, Wire
from pool.tasks import Tasks
from pool.trust import MOST_FAILURES, Trust

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """The pool is asyncio's, as livekit-agents is."""
    return "asyncio"


class Sure:
    """A gate that grants and confirms everything."""

    confirms = True

    async def claim(self, offer: Offer) -> Verdict:
        return Verdict.GRANTED

    async def identify(self, job_id: str, identity: str) -> bool:
        return True

    async def confirm(self, job_id: str) -> bool:
        return self.confirms


@dataclass
class Process:
    """A job process as its parent sees it, by the rules of livekit-agents' executor."""

    pid: int
    running_job: Any = None
    exitcode: int | None = None
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, job_id: str) -> None:
        job = SimpleNamespace(id=job_id, room=SimpleNamespace(name="r"), agent_name="a")
        self.running_job = SimpleNamespace(job=job, assigned_at=time.time())

    async def aclose(self) -> None:
        self.closed.set()


@dataclass
class Scene:
    jobs: Jobs
    events: list[JobEvent]
    process: Any
    wire: Wire
    trust: Trust
    gate: Sure

    @property
    def kinds(self) -> list[Kind]:
        return [event.kind for event in self.events]

    def report(self, kind: Kind | None, detail: str = "") -> None:
        self.wire.pid = self.process.pid
        self.jobs.heard(self.wire, Report(pid=self.process.pid, job_id="J", kind=kind, detail=detail))

    def hang_up(self) -> None:
        self.wire.connection_lost(None)


@pytest.fixture
def pid() -> Iterator[int]:
    """A process that may be killed."""
    with subprocess.Popen(["sleep", "60"]) as child:
        yield child.pid
        child.kill()


@pytest.fixture
async def scene(pid: int) -> Scene:
    """An idle process that has said hello."""
    events: list[JobEvent] = []
    metrics = PoolMetrics(CollectorRegistry())
    trust, gate = Trust(metrics, changed=lambda: None), Sure()
    jobs = Jobs(
        gate=gate,
        tell=events.append,
        changed=lambda: None,
        tasks=Tasks(),
        metrics=metrics,
        trust=trust,
        enter_timeout=30,
        end_timeout=30,
        finish_timeout=30,
    )
    scene = Scene(jobs, events, Process(pid), Wire(jobs.heard, jobs.lost), trust, gate)
    jobs.process_started(scene.process)
    scene.report(None)
    return scene


async def test_the_exit_waits_for_what_the_process_had_said(scene: Scene) -> None:
    """The process is seen dead before its last report is read: EXITED comes last all the same."""
    scene.process.take("J")
    scene.jobs.launched(scene.process)
    scene.report(Kind.ENTERED)
    scene.process.exitcode = 0
    scene.jobs.process_closed(scene.process)
    scene.report(Kind.LEFT, "CLIENT_INITIATED")
    scene.hang_up()
    assert scene.kinds == [Kind.LAUNCHED, Kind.ENTERED, Kind.LEFT, Kind.EXITED]
    assert not scene.jobs.runs("J")


async def test_the_exit_waits_for_the_process(scene: Scene) -> None:
    """A connection that ends first says nothing yet about the exit code."""
    scene.process.take("J")
    scene.jobs.launched(scene.process)
    scene.hang_up()
    assert scene.kinds == [Kind.LAUNCHED]
    scene.process.exitcode = -9
    scene.jobs.process_closed(scene.process)
    assert [(e.kind, e.detail) for e in scene.events[1:]] == [(Kind.EXITED, "-9")]


async def test_the_exit_does_not_wait_for_a_grandchild_for_ever(scene: Scene) -> None:
    """Something that holds the dead process's socket open delays EXITED by a second at most."""
    scene.process.take("J")
    scene.jobs.launched(scene.process)
    scene.jobs.process_closed(scene.process)
    async with asyncio.timeout(3):
        await scene.jobs.wait_idle()
    assert scene.kinds == [Kind.LAUNCHED, Kind.EXITED]


async def test_a_report_that_overtakes_the_launch_makes_it_known(scene: Scene) -> None:
    """ENTERED read before upstream's event: LAUNCHED is told first, and once."""
    scene.jobs.offered("J")
    scene.process.take("J")
    scene.report(Kind.ENTERED)
    scene.jobs.launched(scene.process)
    assert scene.kinds == [Kind.LAUNCHED, Kind.ENTERED]
    assert (scene.jobs.pending, scene.jobs.running) == (0, 1)


async def test_an_end_before_the_launch_is_carried_out_at_the_launch(scene: Scene) -> None:
    """LiveKit may assign the job all the same (fact 53)."""
    scene.jobs.offered("J")
    scene.jobs.end("J", kill=False)
    assert scene.jobs.unwanted("J")
    scene.process.take("J")
    scene.jobs.launched(scene.process)
    async with asyncio.timeout(3):
        await scene.process.closed.wait()


async def test_a_job_is_known_from_the_offer_to_the_exit(scene: Scene) -> None:
    """`runs` counts a job that is accepted and not launched yet."""
    assert not scene.jobs.runs("J")
    scene.jobs.offered("J")
    assert scene.jobs.runs("J")
    scene.jobs.failed("J", Kind.UNASSIGNED, "nobody knows")
    assert not scene.jobs.runs("J")
    assert scene.kinds == [Kind.UNASSIGNED]


async def test_one_that_has_left_need_not_answer(scene: Scene) -> None:
    """It was asked while it was in its room, and does what it likes after that."""
    scene.process.take("J")
    scene.jobs.launched(scene.process)
    scene.report(Kind.ENTERED)
    scene.jobs.ask_all()
    assert scene.jobs.silent() == ["J"]
    scene.report(Kind.LEFT, "CLIENT_INITIATED")
    assert scene.jobs.silent() == []


async def test_an_unknown_job_is_ignored(scene: Scene) -> None:
    """Ending it does nothing; its reports are no events."""
    scene.jobs.end("another", kill=True)
    scene.report(Kind.OPEN)
    assert scene.events == []


class TestWhatSpeaksAgainstTheWorker:
    """Jobs that never got into their rooms, when that was no will of theirs, nor ours."""

    def distrusted_after(self, scene: Scene) -> bool:
        """Whether this one and two more before it make the worker take no more."""
        for _ in range(MOST_FAILURES - 1):
            scene.trust.failed()
        return scene.trust.withholds(arriving=0)

    def exit(self, scene: Scene, code: int) -> None:
        scene.process.exitcode = code
        scene.jobs.process_closed(scene.process)
        scene.hang_up()

    @pytest.fixture
    async def launched(self, scene: Scene) -> Scene:
        """A job that was launched."""
        scene.process.take("J")
        scene.jobs.launched(scene.process)
        return scene

    async def test_a_crash_on_the_way_does(self, launched: Scene) -> None:
        """As of a machine whose network or native library is broken."""
        self.exit(launched, -11)
        assert self.distrusted_after(launched)

    async def test_an_agent_that_raised_does_not(self, launched: Scene) -> None:
        """It would on any other worker."""
        launched.report(Kind.RAISED, "ValueError")
        self.exit(launched, 0)
        assert not self.distrusted_after(launched)

    async def test_an_agent_that_returned_does_not(self, launched: Scene) -> None:
        """It had its will."""
        self.exit(launched, 0)
        assert not self.distrusted_after(launched)

    async def test_one_that_could_not_connect_does(self, launched: Scene) -> None:
        """Its entrypoint raised what livekit-rtc raises when there is no way to LiveKit."""
        launched.report(Kind.RAISED, "ConnectError")
        self.exit(launched, 0)
        assert self.distrusted_after(launched)

    async def test_one_that_did_not_get_there_in_time_does(self, launched: Scene) -> None:
        """The keeper kills it without a word before that."""
        launched.jobs.end("J", kill=True)
        self.exit(launched, -9)
        assert self.distrusted_after(launched)

    async def test_one_that_was_stopped_does_not(self, launched: Scene) -> None:
        """Nobody wanted it any more: it is asked to leave, and killed when it does not."""
        launched.jobs.end("J", kill=False)
        launched.jobs.end("J", kill=True)
        self.exit(launched, -9)
        assert not self.distrusted_after(launched)

    async def test_one_that_was_not_let_in_does_not(self, launched: Scene) -> None:
        """The store did not answer in time, say."""
        launched.gate.confirms = False
        launched.report(Kind.ENTERED)
        while Kind.UNCONFIRMED not in launched.kinds:  # noqa: ASYNC110
            await asyncio.sleep(0)
        self.exit(launched, -11)
        assert not self.distrusted_after(launched)

    async def test_one_that_was_in_its_room_does_not(self, launched: Scene) -> None:
        """Whatever it died of later."""
        launched.report(Kind.CONNECTED)
        self.exit(launched, -9)
        assert not self.distrusted_after(launched)
