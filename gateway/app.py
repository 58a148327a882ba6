"""The composition root: settings become parts, parts become one process. Nothing else knows all of them."""

from __future__ import annotations

import functools
import gc
import importlib
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio
import structlog

from gateway.banner import banner
from gateway.callbacks import Callbacks
from gateway.hosts import has_ended, job_has_ended, this_process
from gateway.http.forward import Forwarder
from gateway.http.listeners import Listeners
from gateway.http.parts import Parts
from gateway.http.probes import Recent
from gateway.http.rates import Rates, open_rates
from gateway.http.routes import build
from gateway.http.site_login import SiteLogin
from gateway.keeper.handover import HANDOVER_TIMEOUT
from gateway.keeper.keeper import Keeper
from gateway.keeper.model import Want
from gateway.keeper.ports import Clock, Store, StoreUnavailable
from gateway.keeper.reports import Health
from gateway.livekit.api import LiveKitClient
from gateway.metrics import Metrics
from gateway.server import Front, Signals
from gateway.sessions.sessions import Sessions
from gateway.settings import DEFAULT_AGENT, LiveKitSettings, PoolSettings, Settings, TraceSettings
from gateway.store.open import open_store
from gateway.traces import TracedJobs, Traces
from gateway.wiring import LateKeeper
from pool.guard import end_leftover
from pool.none import NoPool

if TYPE_CHECKING:
    from gateway.otlp import Otlp
    from pool.supervisor import Pool

log = structlog.get_logger(__name__)

DRAIN_TOLD_EVERY = 60.0
LEAVES_WITHIN = 2.0
"""Seconds that a job has for leaving when nobody took over from it in time."""
PROBE_TIMEOUT = 2.0
"""Seconds that a readiness probe waits for LiveKit."""


async def live(settings: Settings, front: Front, signals: Signals, *, own_livekit: bool) -> None:
    """Be the gateway, until a signal comes. HTTP is served already; the front door is opened here."""
    metrics = Metrics()
    async with (
        open_store(settings.store, told_to_end=signals.end.is_set) as store,
        _open_livekit(settings.livekit, metrics, store.clock) as livekit,
        open_rates(settings.rates, settings.store, metrics) as rates,
        _open_traces(settings.trace, store.clock) as traces,
    ):
        await _end_leftovers(store)
        callbacks = Callbacks(settings.callback, metrics)
        late = LateKeeper()
        watched = TracedJobs(late, late, traces) if traces else late
        pool = await _load_pool(settings, watched, metrics)
        settings = _with_agent(settings, pool.agent, everywhere=pool.nameless)
        keeper = late.keeper = Keeper(
            store=store,
            livekit=livekit,
            workers=pool,
            settings=settings.keeper,
            metrics=metrics,
            clock=store.clock,
            host=this_process(),
            gone=job_has_ended,
            changed=_both(callbacks.heard, traces.changed) if traces else callbacks.heard,
            trace=traces.begin if traces else str,
        )
        metrics.tell_scaling(keeper.scaling.demands)
        sessions = Sessions(
            store.sessions, keeper, livekit, store.clock, retention=settings.http.session_retention
        )
        async with (
            _retiring(keeper),
            _run_pool(pool, signals),
            _run_keeper(keeper, sessions, callbacks),
        ):
            gc.collect()
            gc.freeze()  # what the imports left stays: it need not be looked through again and again
            gc.enable()
            parts = _parts(settings, keeper, sessions, pool, livekit, rates, metrics, signals)
            front.open(build(replace(parts, traces=traces)))
            for door in settings.open_doors:
                log.warning("open_door", what=door, often=settings.rates.by_address or "any")
            sys.stdout.write(banner(settings, own_livekit=own_livekit, agent=pool.agent))
            sys.stdout.flush()
            await signals.end.wait()
            await _drain(pool, keeper, settings.pool, signals, metrics)
            keeper.close()
            front.close()
    # Left from the bottom up. The keeper goes first: calls that the pool has to cut now were not finished,
    # so their wants stay alive in the store, and another replica or the next process serves them. Then the
    # replica retires: what its jobs held is free. HTTP goes last.


async def _end_leftovers(store: Store) -> None:
    """Before anything is taken over: job processes that outlived the gateway before this one are ended."""
    for claim in await store.all_claims():
        gone = not claim.host or has_ended(claim.host)  # of a replica beside us, they are no leftovers
        if claim.pid and gone and end_leftover(claim.pid, claim.pid_started):
            log.warning("leftover_process_ended", room=claim.room, pid=claim.pid)


# ---- parts ------------------------------------------------------------------------------------------------


async def _load_pool(settings: Settings, keeper: LateKeeper | TracedJobs, metrics: Metrics) -> Pool | NoPool:
    if settings.role == "gateway":
        return NoPool(settings.keeper.default_agent)
    # fact 66: a second of imports. In a thread `/livez` answers meanwhile; the agent's plugins need this one.
    await anyio.to_thread.run_sync(functools.partial(importlib.import_module, "livekit.agents"))
    from pool.supervisor import Pool

    pool = Pool(
        settings.pool.target,
        url=settings.livekit.url,
        api_key=settings.livekit.api_key,
        api_secret=settings.livekit.api_secret,
        slots=settings.pool.slots,
        default_agent_name=settings.keeper.default_agent,
        gate=keeper,
        listener=keeper,
        metrics=metrics.pool,
        warm=settings.pool.warm,
        memory_warn=settings.pool.memory_warn,
        memory_limit=settings.pool.memory_limit,
        unresponsive_after=settings.pool.unresponsive_after,
        shared_vad=settings.pool.shared_vad,
    )
    pool.load()
    return pool


def _with_agent(settings: Settings, agent: str, *, everywhere: bool) -> Settings:
    """The agent asked for by default is the one that runs here, unless LIVEKIT_AGENT_NAME says another.

    One without any name would, as a stock worker, join every room: so every room wants it, unless
    ROOMKEEPER_ROOMS says which. The built-in agent is the exception: it is there to be asked for.
    """
    keeper = settings.keeper
    if keeper.default_agent == DEFAULT_AGENT and agent:
        keeper = replace(keeper, default_agent=agent)
    if everywhere and not keeper.room_patterns and settings.pool.target != PoolSettings.target:
        keeper = replace(keeper, room_patterns=(("*", agent),))
    return replace(settings, keeper=keeper)


def _parts(
    settings: Settings,
    keeper: Keeper,
    sessions: Sessions,
    pool: Pool | NoPool,
    livekit: LiveKitClient,
    rates: Rates,
    metrics: Metrics,
    signals: Signals,
) -> Parts:
    return Parts(
        settings=settings,
        keeper=keeper,
        workers=pool,
        metrics=metrics,
        keys=settings.livekit.keys,
        sessions=sessions,
        forwarder=Forwarder(settings.http.forward_to, metrics),
        site=SiteLogin(settings.site),
        listeners=Listeners(),
        rates=rates,
        probe_livekit=Recent(functools.partial(_probe, livekit)),
        draining=signals.end.is_set,
        clock=time.time,
    )


async def _probe(livekit: LiveKitClient) -> Health:
    with anyio.move_on_after(PROBE_TIMEOUT):  # it only reads: cutting it short changes nothing
        probe = await livekit.probe()
        return Health(name="livekit", ok=probe.ok, why=probe.why)
    return Health(name="livekit", ok=False, why=f"LiveKit did not answer within {PROBE_TIMEOUT:g} s")


# ---- lives ------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _open_livekit(
    settings: LiveKitSettings, metrics: Metrics, keepers_clock: Clock
) -> AsyncIterator[LiveKitClient]:
    def count(method: str, outcome: str, seconds: float) -> None:
        metrics.livekit_calls.labels(method, outcome).observe(seconds)

    async with LiveKitClient(
        settings.url,
        settings.api_key,
        settings.api_secret,
        timeout=settings.call_timeout,
        on_call=count,
        keepers_clock=keepers_clock,
    ) as livekit:
        yield livekit


@asynccontextmanager
async def _open_traces(settings: TraceSettings, clock: Clock) -> AsyncIterator[Traces | None]:
    """None when nothing is traced: then OpenTelemetry's SDK is not loaded, either."""
    if not settings.endpoint:
        yield None
        return
    module = await anyio.to_thread.run_sync(importlib.import_module, "gateway.otlp")
    otlp: Otlp = module.otlp(settings.endpoint)
    try:
        yield Traces(otlp.send, clock, samples=otlp.samples)
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(otlp.close)


def _both(
    first: Callable[[Want, Want], None], second: Callable[[Want, Want], None]
) -> Callable[[Want, Want], None]:
    def changed(want: Want, was: Want) -> None:
        first(want, was)
        second(want, was)

    return changed


@asynccontextmanager
async def _retiring(keeper: Keeper) -> AsyncIterator[None]:
    """At the end, when no job of this process is left: the other replicas need not wait for its lapse."""
    try:
        yield
    finally:
        with anyio.CancelScope(shield=True), suppress(StoreUnavailable):
            await keeper.retire()


@asynccontextmanager
async def _run_keeper(keeper: Keeper, sessions: Sessions, callbacks: Callbacks) -> AsyncIterator[None]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(keeper.run, name="keeper")
        tasks.start_soon(sessions.run, name="sessions")
        tasks.start_soon(callbacks.run, name="callbacks")
        yield
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def _run_pool(pool: Pool | NoPool, signals: Signals) -> AsyncIterator[None]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pool.run, name="pool")
        try:
            yield
        finally:
            with anyio.CancelScope(shield=True):
                if signals.at_once.is_set():
                    await pool.close(grace=0.0)
                else:
                    await pool.close()


async def _drain(
    pool: Pool | NoPool, keeper: Keeper, settings: PoolSettings, signals: Signals, metrics: Metrics
) -> None:
    """Let the calls end by themselves, for as long as the settings say or until a second signal; hand over
    what is left then, where they say so. HTTP is served."""
    lasts = settings.drain_timeout + (HANDOVER_TIMEOUT + LEAVES_WITHIN if settings.handover else 0.0)
    metrics.draining.set(1)
    metrics.drain_deadline.set(time.time() + lasts)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_then, signals.at_once.wait, tasks.cancel_scope.cancel)
        tasks.start_soon(_tell_of_the_drain, pool, anyio.current_time() + lasts)
        left = await pool.drain(settings.drain_timeout)
        if left and settings.handover and await keeper.hand_over():
            await pool.drain(HANDOVER_TIMEOUT)
            await keeper.end_handover()
            left = await pool.drain(LEAVES_WITHIN)
        log.info("drained", calls_left=left)
        tasks.cancel_scope.cancel()


async def _tell_of_the_drain(pool: Pool | NoPool, until: float) -> None:
    """Whoever waits for it wants to see that it goes on."""
    while True:
        await anyio.sleep(DRAIN_TOLD_EVERY)
        left = max(0, round(until - anyio.current_time()))
        log.info("drains", calls_left=pool.capacity().running, cut_in_s=left)


async def _then(wait: Callable[[], Awaitable[object]], act: Callable[[], object]) -> None:
    await wait()
    act()
