"""Every metric of Roomkeeper, by name and in base units. A leaf: imports nothing of ours but the
pool's.

One `Metrics` per process, handed to whoever counts; its registry is its own, apart from
livekit-agents' (fact 60).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from pool.metrics import PoolMetrics

if TYPE_CHECKING:
    from gateway.keeper.scaling import Demand

TIME_TO_AGENT_BUCKETS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_CALL_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 3.0, 5.0, 10.0)


_SCALING = {
    "roomkeeper_wanted_workers": (
        "wanted_workers",
        "Workers that the agent needs, those that drain left out: (active + waiting + buffer) / slots per"
        " worker, rounded up. Told by the leader only, as are its parts.",
    ),
    "roomkeeper_agents_active": (
        "active",
        "Slots with a job in workers that do not drain; while others take jobs, all slots of a"
        " distrusted worker that takes none.",
    ),
    "roomkeeper_agents_waiting": ("waiting", "Rooms that wait for the agent, or have just called for it."),
    "roomkeeper_buffer_slots": ("buffer", "Slots to be free for whoever asks next (ROOMKEEPER_BUFFER)."),
    "roomkeeper_slots_per_worker": ("slots_per_worker", "Slots of the smallest worker that does not drain."),
    "roomkeeper_oldest_wait_seconds": (
        "oldest_wait",
        "For how long the room that lacks its agent the longest has lacked it; 0 when none does.",
    ),
}


class ScalingCollector(Collector):
    """Asks at each scrape; tells nothing while this replica does not lead."""

    def __init__(self, demands: Callable[[], Iterable[Demand]]) -> None:
        self._demands = demands

    def describe(self) -> Iterator[GaugeMetricFamily]:
        for name, (_, what) in _SCALING.items():
            yield GaugeMetricFamily(name, what, labels=["agent"])

    def collect(self) -> Iterator[GaugeMetricFamily]:
        demands = list(self._demands())
        for family, (part, _) in zip(self.describe(), _SCALING.values(), strict=True):
            for demand in demands:
                family.add_metric([demand.agent], getattr(demand, part))
            yield family


class Metrics:
    """The instruments, one attribute each."""

    def __init__(self) -> None:
        self.registry = r = CollectorRegistry()
        self.pool = PoolMetrics(r)
        self.time_to_agent = Histogram(
            "roomkeeper_time_to_agent_seconds",
            "From the ask, or the loss of the agent before, to each stage: asked (it is durable), dispatched,"
            " claimed, joined.",
            ["stage"],
            buckets=TIME_TO_AGENT_BUCKETS,
            registry=r,
        )
        self.refused_for_rate = Counter(
            "roomkeeper_refused_for_rate_total",
            "Requests that came too often from one address, or from one caller.",
            ["counted_by"],
            registry=r,
        )
        self.callbacks = Counter(
            "roomkeeper_callbacks_total",
            "Events for the operator's callback URL, by outcome: taken, refused, unreachable, dropped.",
            ["outcome"],
            registry=r,
        )
        self.forwards = Counter(
            "roomkeeper_forwards_total",
            "Requests to other workers' own doors, by outcome: taken, failed, refused.",
            ["outcome"],
            registry=r,
        )
        self.asks = Counter(
            "roomkeeper_asks_total",
            "Asks for an agent, by source and whether the want lived already.",
            ["source", "deduplicated"],
            registry=r,
        )
        self.rooms = Gauge(
            "roomkeeper_rooms", "Rooms' wants by state, ended ones left out.", ["state"], registry=r
        )
        self.dispatches = Counter(
            "roomkeeper_dispatches_total",
            "Calls for agents by outcome: created, unknown when LiveKit gave no answer, direct when it was"
            " not asked; then claimed when the gate granted a job (also of a dispatch that was not ours), or"
            " lost.",
            ["outcome"],
            registry=r,
        )
        self.agents_replaced = Counter(
            "roomkeeper_agents_replaced_total",
            "Agents of our pool that were in their room and ended, and are replaced, by how they ended: died,"
            " raised, spent (deaf), room_ended, declined, finished (but asked for again meanwhile).",
            ["reason"],
            registry=r,
        )
        self.gave_up = Counter("roomkeeper_gave_up_total", "Wants given up at their deadline.", registry=r)
        self.offers = Counter(
            "roomkeeper_offers_total",
            "Jobs offered to our workers, by LiveKit or by the direct lane, by the gate's verdict: granted,"
            " adopted (the dispatch was not ours), duplicate, no_want, stale (of a room or a restart before),"
            " late (LiveKit waits no longer), unknown. A draining worker does not ask the gate.",
            ["verdict"],
            registry=r,
        )
        self.duplicates_refused = Counter(
            "roomkeeper_duplicates_refused_total",
            "Jobs refused at the gate because another one holds the room's claim.",
            registry=r,
        )
        self.participants_removed = Counter(
            "roomkeeper_participants_removed_total",
            "Agent participants removed from rooms, by kind: ghost (its process is gone), stray (holds no"
            " claim), spent (told to leave: deaf, restarted or stopped), restarted, stopped (both of workers"
            " that are not ours).",
            ["kind"],
            registry=r,
        )
        self.webhooks = Counter(
            "roomkeeper_webhooks_total",
            "Webhooks by event and verdict: queued, unwanted, no_room, repeated; refused, their event being"
            " unknown: unsigned, bad_token, bad_algorithm, unknown_key, bad_signature, bad_hash, expired,"
            " not_yet_valid, malformed, too_large.",
            ["event", "verdict"],
            registry=r,
        )
        self.slots = Gauge(
            "roomkeeper_slots",
            "Slots by state: running, starting, free, cold (can take no job now: no process is warm or soon"
            " to be, the worker is not registered, drains, is out of the store's reach, or its jobs never"
            " join).",
            ["state"],
            registry=r,
        )
        self.warm = Gauge("roomkeeper_warm_processes", "Processes that are ready for a job.", registry=r)
        self.jobs_ended = Counter(
            "roomkeeper_jobs_ended_total",
            "Jobs of our pool that held a claim and ended, by how: died, raised, spent (deaf when it left),"
            " finished, ended (by us), lost (never got to the room), room_ended, declined (by on_request).",
            ["reason"],
            registry=r,
        )
        self.livekit_calls = Histogram(
            "roomkeeper_livekit_call_seconds",
            "Calls to LiveKit's API by method and outcome: ok, not_found, refused, unavailable, timeout,"
            " unreachable, rejected, skewed (the clocks differ: not heeded), malformed, cancelled.",
            ["method", "outcome"],
            buckets=_CALL_SECONDS,
            registry=r,
        )
        self.passes = Counter(
            "roomkeeper_passes_total",
            "Passes over a room by result: ok (also when LiveKit needed not be asked), unknown (LiveKit could"
            " not tell), failed (the store is away, or a fault of ours).",
            ["result"],
            registry=r,
        )
        self.queue_depth = Gauge(
            "roomkeeper_queue_depth",
            "Rooms in the queue for a look, due or not yet, when one was last taken from it.",
            registry=r,
        )
        self.resyncs = Histogram(
            "roomkeeper_resync_seconds",
            "Comparisons with all rooms that LiveKit lists, the vain ones included.",
            buckets=_CALL_SECONDS,
            registry=r,
        )
        self.http_requests = Histogram(
            "roomkeeper_http_request_seconds",
            "HTTP requests by route and status, webhooks left out (they have their own counter).",
            ["route", "status"],
            buckets=_CALL_SECONDS,
            registry=r,
        )
        self.handovers = Counter(
            "roomkeeper_handovers_total",
            "Calls that a draining worker handed over, as the leader saw them end: handed_over to a successor"
            " that works, late (none came in time, and the agent left), died (before one came).",
            ["outcome"],
            registry=r,
        )
        self.draining = Gauge(
            "roomkeeper_draining",
            "1 while this process drains: it takes no job, and its calls end.",
            registry=r,
        )
        self.drain_deadline = Gauge(
            "roomkeeper_drain_deadline_seconds",
            "Unix time at which a drain cuts what is left; 0 while there is none.",
            registry=r,
        )
        self.heartbeats = Counter(
            "roomkeeper_heartbeats_total",
            "Heartbeats of this replica to the store by result: ok, failed (it did not answer).",
            ["result"],
            registry=r,
        )
        self.leading = Gauge(
            "roomkeeper_leading", "1 while this replica leads: it keeps the rooms of all.", registry=r
        )
        self.replicas_lapsed = Counter(
            "roomkeeper_replicas_lapsed_total",
            "Other replicas whose heartbeat stopped, as this one saw it.",
            registry=r,
        )
        self.witnesses = Counter(
            "roomkeeper_witnesses_total",
            "Agents of lapsed replicas that were asked, through LiveKit, whether they live: alive (left"
            " alone), gone (removed and replaced), unknown.",
            ["answer"],
            registry=r,
        )
        self.stale_writes = Counter(
            "roomkeeper_stale_writes_total",
            "Passes that ended since this replica had lost the lead: the store refused a write, or it noticed"
            " by itself.",
            registry=r,
        )
        self.jobs_cut = Counter(
            "roomkeeper_jobs_cut_total",
            "Jobs of this replica that were ended because it had been stopped or cut off: unclaimed (somebody"
            " else holds the room), unsure (neither the store nor LiveKit could be reached).",
            ["why"],
            registry=r,
        )
        self.worker_registrations = Counter(
            "roomkeeper_worker_registrations_total",
            "Registrations of this pool's worker with LiveKit.",
            registry=r,
        )
        self._begin_at_zero()

    def _begin_at_zero(self) -> None:
        """What counts rare events has all its series from the start: Prometheus sees no increase in one that
        appears with its first event."""
        for counter, values in (
            (self.time_to_agent, "asked dispatched claimed joined"),
            (self.dispatches, "created unknown direct claimed lost"),
            (self.agents_replaced, "died raised spent room_ended declined finished"),
            (self.jobs_cut, "unclaimed unsure"),
            (self.passes, "ok unknown failed"),
            (self.heartbeats, "ok failed"),
            (self.callbacks, "taken refused unreachable dropped"),
            (self.pool.died, "warm job"),
        ):
            for value in values.split():
                counter.labels(value)

    def tell_scaling(self, demands: Callable[[], Iterable[Demand]]) -> None:
        """From now on, what workers are wanted is asked of `demands` at each scrape."""
        self.registry.register(ScalingCollector(demands))
