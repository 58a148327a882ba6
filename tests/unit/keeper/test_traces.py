"""Each want's way to its agent is a trace: what called for it, how often, how long each step took."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import pytest
from structlog.testing import capture_logs

from gateway.keeper import traces
from gateway.keeper.model import Ask, Job
from gateway.settings import KeeperSettings
from gateway.traces import AGAIN, DISPATCH, JOIN, WANTED, Span, Traces
from tests.unit.keeper.site import AGENT, Site, a_site, wall_clock

pytestmark = pytest.mark.anyio

TRACE, REQUEST = "ab" * 16, "cd" * 8


class Told:
    """Every span, in the order in which they ended."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]


@asynccontextmanager
async def traced(**settings: Any) -> AsyncIterator[tuple[Site, Told]]:
    told = Told()
    async with a_site(settings=KeeperSettings(default_agent=AGENT, **settings)) as site:
        site.traces = Traces(told.spans.append, wall_clock)
        async with site.running():
            yield site, told


async def ask(site: Site, traceparent: str = traces.traceparent(TRACE, REQUEST)) -> Job:
    return await site.keeper.start_agent(Ask(room="r", agent=AGENT, traceparent=traceparent))


async def test_a_request_a_want_a_dispatch_and_a_join_are_one_trace() -> None:
    """Each within the one before it, from the ask to the open session."""
    async with traced() as (site, told):
        site.person()
        job = await ask(site)
        await site.served()
        await anyio.sleep(2)
    (wanted,), (dispatch,), (join,) = told.named(WANTED), told.named(DISPATCH), told.named(JOIN)
    assert {span.trace_id for span in told.spans} == {TRACE}
    assert wanted.parent_id == REQUEST
    assert dispatch.parent_id == join.parent_id == wanted.span_id
    assert len({wanted.span_id, dispatch.span_id, join.span_id}) == 3
    assert wanted.began == job.want.created_at <= dispatch.began < dispatch.ended <= join.began
    assert join.ended <= wanted.ended
    assert [stage for stage, _ in join.events] == ["launched", "entered", "connected"]
    assert wanted.attributes["roomkeeper.job"] == join.attributes["roomkeeper.job"] == job.want.id
    assert not any(span.fault for span in told.spans)


async def test_a_replacement_is_a_further_span_of_the_trace() -> None:
    """The agent dies: from then on until the next one is there."""
    async with traced() as (site, told):
        site.person()
        await ask(site)
        await site.served()
        await anyio.sleep(2)
        died = wall_clock()
        site.pool.die(site.pool.of("r"))
        await site.until(lambda: bool(told.named(AGAIN)))
    (again,) = told.named(AGAIN)
    assert (again.trace_id, again.parent_id) == (TRACE, REQUEST)
    assert died <= again.began < again.ended
    assert [span.parent_id for span in told.named(JOIN)][1] == again.span_id


async def test_what_is_lost_says_so() -> None:
    """A dispatch that nobody claims, and a want that is given up."""
    async with traced(give_up_after=20.0) as (site, told):
        site.person()
        await site.keeper.start_agent(Ask(room="r", agent="nobody"))
        await site.until(lambda: bool(told.named(WANTED)), within=60)
    (wanted,) = told.named(WANTED)
    assert wanted.fault.startswith("no agent within 20 s")
    assert {span.fault for span in told.named(DISPATCH)} == {"nobody took the job"}
    assert {span.parent_id for span in told.named(DISPATCH)} == {wanted.span_id}


async def test_a_want_that_no_request_began_has_a_trace_of_its_own() -> None:
    """By a pattern, say."""
    async with traced(room_patterns=(("r", AGENT),)) as (site, told):
        site.person()
        await site.until(lambda: bool(told.named(WANTED)))
    (wanted,) = told.named(WANTED)
    assert wanted.parent_id == ""
    assert {span.trace_id for span in told.spans} == {wanted.trace_id}


async def test_a_trace_that_is_not_sampled_is_carried_and_not_told() -> None:
    """The caller has decided that."""
    async with traced() as (site, told):
        site.person()
        await ask(site, traces.traceparent(TRACE, REQUEST, sampled=False))
        await site.served()
        carried = site.pool.of("r").offer.attributes["traceparent"]
        await anyio.sleep(2)
    assert carried.startswith(f"00-{TRACE}-")
    assert carried.endswith("-00")
    assert told.spans == []


async def test_the_next_leader_goes_on_with_the_trace() -> None:
    """The want's row has it, and its span's id follows from the row."""
    async with a_site() as site:
        told = Told()
        site.traces = Traces(told.spans.append, wall_clock)
        async with site.running(registered=False):
            job = await ask(site)
            await anyio.sleep(1)
        site.person()
        async with site.running():
            await site.until(lambda: bool(told.named(WANTED)))
        (wanted,) = told.named(WANTED)
        assert (wanted.trace_id, wanted.parent_id) == (TRACE, REQUEST)
        assert wanted.began == job.want.created_at


async def test_the_lines_about_a_want_have_its_trace() -> None:
    """From the ask to the agent's end."""
    with capture_logs() as lines:
        async with traced() as (site, _):
            site.person()
            await ask(site)
            await site.served()
            await anyio.sleep(2)
            site.pool.die(site.pool.of("r"))
            await anyio.sleep(2)
    events = {line["event"] for line in lines if line.get("trace_id") == TRACE}
    assert events >= {
        *("agent_wanted", "agent_dispatched", "dispatch_created", "job_offered", "agent_joined", "agent_out"),
        "agent_replacing",
    }


async def test_without_tracing_nothing_is_carried() -> None:
    """No attribute of a job, no field of a line."""
    with capture_logs() as lines:
        async with a_site() as site, site.running():
            site.person()
            job = await site.ask()
            await site.served()
            assert "traceparent" not in site.pool.of("r").offer.attributes
    assert job.want.traceparent == ""
    assert not any("trace_id" in line for line in lines)


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"00-{TRACE}-{REQUEST}",
        f"00-{TRACE}-{REQUEST}-01-more",
        f"ff-{TRACE}-{REQUEST}-01",
        f"00-{TRACE.upper()}-{REQUEST}-01",
        f"00-{'0' * 32}-{REQUEST}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"01-{TRACE}-{REQUEST}-01-{'x' * 1000}",
        f"00-{TRACE}-{REQUEST}-0g",
    ],
)
def test_what_is_no_traceparent_is_not_taken(text: str) -> None:
    """W3C Trace Context, 3.2.2: as if there were none."""
    assert traces.parse(text) == ""


def test_a_later_versions_traceparent_is_taken() -> None:
    """W3C Trace Context, 4.3: its first fields are these."""
    assert traces.parse(f"01-{TRACE}-{REQUEST}-01-more") == f"00-{TRACE}-{REQUEST}-01"
    assert traces.sampled(f"00-{TRACE}-{REQUEST}-03")


async def test_a_wants_span_is_another_one_each_time() -> None:
    """One for each time in which it lacks its agent."""
    async with a_site() as site, site.running():
        want = (await site.ask()).want
    assert traces.span_id(want) == traces.span_id(replace(want, reason="another"))
    assert traces.span_id(want) != traces.span_id(replace(want, lacking_since=want.lacking_since + 1))
