"""Whether an agent comes: one is asked for as a frontend does, and looked at until it is there."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from gateway.http.shapes import RoomAnswer
from gateway.keeper.model import State
from gateway.operator.door import DoorFault
from gateway.operator.line import Finding, fail, ok, warn
from gateway.operator.site import Site

SPARE = 0.5
"""Seconds before the end of all checks, to tell how far it came."""
OFTEN, SELDOM = 0.03, 0.25
"""Seconds between two looks: in the first moments, in which an agent comes, and later."""
FIRST_MOMENTS = 3.0
LOOK = "see `What the reasons mean` in docs/operations.md, and the gateway's log by room="
HOPELESS = ("the agent's entrypoint raised", "the agent died", "the agent's own on_request refused")
"""Reasons after which another try says nothing new."""
FULL = "all "
"""N slots are taken."""
CURES = {
    "no worker is registered": "see the lines `worker` and `ready`",
    FULL: "more slots (--slots), or wait until a call ends",
    "no process is warm": "wait; when it stays, the agent's setup_fnc fails: see the gateway's log for "
    "`error initializing process`",
    "earlier dispatches": "nobody took the dispatches for that name: see the line `worker`",
    "no worker took the job": "nobody serves that name, or who does is frozen: compare LIVEKIT_AGENT_NAME "
    "(or --agent) with the name that your AgentServer has, and its LIVEKIT_URL with this one",
    "the job did not start": "a worker took the job, and its agent never came into the room: see that its "
    "entrypoint gets to `await ctx.connect()`, and that agents reach LiveKit (the line `media`)",
    "the agent is on its way": "a worker took the job, and its agent has not come into the room: see that "
    "its entrypoint gets to `await ctx.connect()`, and that agents reach LiveKit (the line `media`)",
    "the agent is in the room": "its session does not open: see that `session.start()` returns, and the log "
    "of that job",
    "the agent's entrypoint raised": "the agent's own fault: see the traceback in the gateway's log",
    "the agent died": "its process was killed, ran out of memory or froze, or its session closed with an "
    "error (a wrong key of the model's provider, say): see the gateway's log by the job",
    "the agent's own on_request": "the agent's decision: see its on_request",
}
NOBODY = "no worker took the job"
TRANSIENT = (NOBODY, "the job did not start")
"""Reasons after which another try may do better."""


@dataclass(slots=True)
class Progress:
    """How far a job has come, by what an operator sees of its room. Times are the store's."""

    since: str | None
    """When it was asked for, as the answer says."""
    asked_s: float
    """How long that answer took."""
    stages: dict[str, float] = field(default_factory=dict)
    """Seconds from the ask to each stage."""
    state: State = State.WAITING
    reason: str = ""
    """The last one that says why there is no agent yet."""
    failed: str = ""
    """Why the last try came to nothing."""

    def see(self, room: RoomAnswer, job_id: str) -> None:
        for want in room.wants:
            if want.job_id == job_id:
                self.state, self.reason = want.state, want.reason or self.reason
                if want.state in (State.DISPATCHED, State.JOINED):
                    self._reach(want.state.value, want.since)
                if want.reason.startswith((*HOPELESS, *TRANSIENT)):
                    self.failed = want.reason
        for claim in room.claims:
            if claim.job_id == job_id:
                self._reach("claimed", claim.since)

    def _reach(self, stage: str, at: str | None) -> None:
        if at is not None and self.since is not None:
            passed = datetime.fromisoformat(at) - datetime.fromisoformat(self.since)
            self.stages.setdefault(stage, passed.total_seconds())

    @property
    def hopeless(self) -> bool:
        return self.failed.startswith(HOPELESS)

    @property
    def why(self) -> str:
        """Why there is no agent: the last failure says more than the try after it."""
        if not self.failed and self.state is State.DISPATCHED and "claimed" not in self.stages:
            return NOBODY
        return self.failed or self.reason or "the gateway says nothing of it"

    def told(self) -> str:
        known = {"asked": self.asked_s, **dict(sorted(self.stages.items(), key=lambda s: s[1]))}
        return ", ".join(f"{stage} {seconds * 1000:.0f}" for stage, seconds in known.items()) + " ms"


async def agent(site: Site) -> Finding:
    began = time.monotonic()
    try:
        site.asked = True
        job = await site.gateway.order("start_agent", site.room, site.agent)
        assert job.job_id is not None
        progress = Progress(job.since, time.monotonic() - began)
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, site.left() - SPARE)):
                await _look(site, job.job_id, progress)
    except DoorFault as fault:
        return fail(str(fault), "see the lines `gateway` and `ready`")
    return judged(job.agent_name, progress, time.monotonic() - began)


async def _look(site: Site, job_id: str, progress: Progress) -> None:
    """Until the agent is there, or will not come."""
    began = time.monotonic()
    while True:
        progress.see(await site.gateway.room(site.room), job_id)
        if progress.state is State.JOINED or progress.state.ended or progress.hopeless:
            return
        await asyncio.sleep(OFTEN if time.monotonic() - began < FIRST_MOMENTS else SELDOM)


def judged(name: str, progress: Progress, after: float) -> Finding:
    """How long it took; or what was the matter, and how far it got. Pure."""
    if progress.state is State.JOINED:
        return ok(f"{name!r} is in the room and listens: {progress.told()}")
    why = progress.why
    if why.startswith(FULL):
        return warn(f"nobody could come: {why}", CURES[FULL])
    cure = next((cure for reason, cure in CURES.items() if why.startswith(reason)), LOOK)
    return fail(f"no agent {name!r} after {after:.1f} s: {why} ({progress.told()})", cure)
