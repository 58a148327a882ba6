"""The replicas that share the store, as this one knows them: who lives, who leads, what they can take.

Makes no call: `Heart` feeds it. With one replica it is that replica.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import replace

import anyio

from gateway.keeper.model import Pulse, Replica, Want
from gateway.keeper.ports import LEASE, Clock
from gateway.keeper.strength import Strength
from pool.ports import Workers

MARGIN = 0.5
"""Seconds before the lease lapses in which the leader begins nothing any more."""
CATCHES_UP = 2.0
"""Seconds in which a replica that is back tells the store what has happened meanwhile."""
FORGETFUL = 12.0
"""Seconds after the store forgot in which an agent that nobody claims is asked before it is put out."""
LIVEKIT_GONE = 6.0
"""Seconds without an answer after which a replica does not see LiveKit."""
GAP = 1.5
"""Seconds between two heartbeats of our own after which the others' are not judged: the store was away for
them as well."""
AWAY = LEASE
"""Seconds between two heartbeats of our own after which what the store says may be out of date: more than a
slow way there makes."""


class Fleet:
    def __init__(
        self,
        replica_id: str,
        host: str,
        workers: Workers,
        clock: Clock,
        *,
        may_lead: bool = True,
        our_agents: Collection[str] = (),
    ) -> None:
        """`our_agents`: names that are ours even while no worker of theirs runs."""
        self.id = replica_id
        self._may_lead = may_lead
        self._our_agents = frozenset(our_agents)
        self.host = host
        self.sees_livekit = False
        self._livekit_at = clock() - LIVEKIT_GONE
        """When LiveKit last answered this replica."""
        self._settled_at = -math.inf
        self._beat = anyio.Event()
        self._workers = workers
        self._clock = clock
        self._others: dict[str, Replica] = {}
        self._lapsed: set[str] = set()
        self._back_at: dict[str, float] = {}
        """Replicas that had lapsed and are back, since when."""
        self._strengths: dict[str, Strength] = {}
        """What the others can take together, by agent name; reckoned when first asked for."""
        self._others_nodes: frozenset[str] | None = None
        self._served: frozenset[str] | None = None
        self._epoch: int | None = None
        self._lease_until = -math.inf
        self._beaten_at = -math.inf
        self._judges_from = -math.inf
        self._reached_again_at = -math.inf
        self._heard_since = -math.inf
        """Heartbeats from before that are old."""
        self._settled = False
        self._forgot_at = -math.inf
        self._generation = self._told = ""
        """The store's, and that into which this replica has put back what it knows."""
        self._leader = ""
        self.term = 0
        """Counts the times without a gap in which this replica led."""

    # ---- fed by the heart

    def me(self) -> Replica:
        return Replica(
            id=self.id,
            host=self.host,
            agent=self._workers.agent,
            capacity=self._workers.capacity(),
            sees_livekit=self.sees_livekit,
            may_lead=self._may_lead,
        )

    def take(self, pulse: Pulse, sent_at: float) -> bool:
        """A heartbeat came back; it was sent at that time. Whether the others can take more or less than was
        known: what one tells of itself before its first heartbeat is known here is not heeded (`hear`)."""
        could = {replica.id: replica.capacity for replica in self._others.values()}
        if sent_at - self._beaten_at > GAP and self._others:
            self._judges_from = sent_at + LEASE
        if self._beaten_at > -math.inf and sent_at - self._beaten_at > AWAY:
            self._reached_again_at = sent_at
        self._take_lead(pulse, sent_at)
        self._beaten_at = sent_at
        silent = {i: self._others[i].beat_at for i in self._lapsed if i in self._others}
        self._others = {r.id: r for r in pulse.replicas if r.id != self.id}
        old = self._heard_since = pulse.now - LEASE
        judges = sent_at >= self._judges_from
        self._lapsed = {
            r.id
            for r in self._others.values()
            # One that had lapsed when we still could judge, and has told nothing since, has not come back.
            if (judges and r.beat_at < old) or silent.get(r.id) == r.beat_at
        }
        self._back_at = {i: at for i, at in self._back_at.items() if sent_at < at + CATCHES_UP}
        self._back_at |= {i: sent_at for i in silent if i in self._others and i not in self._lapsed}
        self._forget_sums()
        self._settled = pulse.settled
        self._forgot_at = sent_at - pulse.age  # also when this replica came only after that
        self._generation = pulse.generation
        return could != {replica.id: replica.capacity for replica in self._others.values()}

    def _take_lead(self, pulse: Pulse, sent_at: float) -> None:
        leads = pulse.leader == self.id
        if leads and (pulse.epoch != self._epoch or self._clock() >= self._lease_until):
            # Also after a while in which it could not be sure, and dropped what it was told.
            self.term += 1
        self._leader = pulse.leader
        self._epoch = pulse.epoch if leads else None
        self._lease_until = sent_at + LEASE - MARGIN if leads else -math.inf

    def note_livekit(self, *, answered: bool) -> None:
        """LiveKit was asked something."""
        now = self._clock()
        if answered:
            self._livekit_at = now
        self.sees_livekit = now - self._livekit_at < LIVEKIT_GONE

    def told_all(self, sent_at: float) -> None:
        """After the heartbeat that was sent then, the store knows all that this replica knows."""
        self._settled_at = sent_at
        self._told = self._generation
        self._beat.set()
        self._beat = anyio.Event()

    async def next_beat(self) -> None:
        """Wait for a heartbeat that is sent from now on: should the store have lost what this replica
        had told it, it is back by then."""
        now = self._clock()
        while self._settled_at < now:
            await self._beat.wait()

    def hear(self, replica: Replica) -> None:
        """Another replica's capacity has changed. When it last beat, its heartbeats tell."""
        known = self._others.get(replica.id)
        if replica.id != self.id and known is not None:
            self._others[replica.id] = replace(replica, beat_at=known.beat_at)
            self._forget_sums()

    # ---- who leads

    @property
    def epoch(self) -> int | None:
        """Under which this replica leads now; None when it does not, or cannot be sure. A leader begins its
        work when the store is settled, and has back what this replica itself knows: an agent whose claim is
        not back yet looks like a stray."""
        begun = self._settled and self._told == self._generation
        return self._epoch if begun and self._clock() < self._lease_until else None

    @property
    def settled(self) -> bool:
        """Whether the store has back all that it may have lost, as of our last heartbeat. Under a later
        generation no step of ours is answered."""
        return self._settled

    @property
    def out_of_date(self) -> bool:
        """Whether the store was out of reach, for all we know, until just now, and may not have been told yet
        what happened meanwhile."""
        now = self._clock()
        overdue = self._beaten_at > -math.inf and now - self._beaten_at > AWAY
        return overdue or now < self._reached_again_at + CATCHES_UP

    @property
    def forgetful(self) -> bool:
        """Whether the store forgot what it had so lately that a replica may still be about to put something
        back, having been out of touch just then."""
        return self._clock() < self._forgot_at + FORGETFUL

    @property
    def follows(self) -> bool:
        """Whether another replica leads, for certain."""
        return self._settled and bool(self._leader) and self._leader != self.id and not self.cut_off

    @property
    def should_lead(self) -> bool:
        """Whether this replica is fit to lead, or nobody is fitter."""
        if not self._may_lead:
            return False
        fit = self.sees_livekit and not self._workers.capacity().draining
        return fit or not any(
            r.may_lead and r.sees_livekit and not r.capacity.draining and r.id not in self._lapsed
            for r in self._others.values()
        )

    @property
    def alone(self) -> bool:
        return not self._others

    @property
    def cut_off(self) -> bool:
        """The store has not answered for so long that others must take this replica for lapsed."""
        return self._clock() - self._beaten_at > LEASE

    # ---- who lives

    def alive(self, replica_id: str) -> bool:
        """Whether a replica has not lapsed; one that nobody knows (any more) has."""
        if replica_id == self.id:
            return True
        if replica_id not in self._others:
            return self._clock() < self._judges_from
        return replica_id not in self._lapsed

    def silent(self, replica_id: str) -> bool:
        """Whether another replica may have news that it could not tell: it has lapsed, or did until just now,
        or the store was away for all."""
        now, back_at = self._clock(), self._back_at.get(replica_id, -math.inf)
        return not self.alive(replica_id) or now < max(back_at + CATCHES_UP, self._judges_from)

    def knows(self, replica_id: str) -> bool:
        """Whether it is us, or another replica has told of itself."""
        return replica_id == self.id or replica_id in self._others

    def after_last_beat(self, moment: float) -> bool:
        """Whether our last heartbeat cannot tell of what was written then: a replica that has just come, or
        come back, takes jobs before our next one tells of it."""
        return moment > self._beaten_at - MARGIN

    def replicas(self) -> list[Replica]:
        """Those that live, this one first."""
        return [self.me(), *self._living_others()]

    @property
    def living(self) -> frozenset[str]:
        """The other replicas that live."""
        return frozenset(self._others.keys() - self._lapsed)

    @property
    def lapsed(self) -> frozenset[str]:
        return frozenset(self._lapsed)

    # ---- what they can take

    def serves(self, agent: str) -> bool:
        """Whether the agent's name is one of ours: some replica's pool has it, or had it lately."""
        return agent in self.our_agents()

    def our_agents(self) -> frozenset[str]:
        if self._served is None:
            self._served = self._our_agents.union(replica.agent for replica in self._others.values())
        own = self._workers.agent
        return self._served if own in self._served else self._served | {own}

    def strength(self, agent: str) -> Strength:
        others = self._strengths.get(agent)
        if others is None:
            others = Strength()
            for replica in self._living_others():
                if replica.agent == agent:
                    others = others.with_worker(replica.capacity)
            self._strengths[agent] = others
        # Our own is asked for anew each time: what it has just taken counts at once.
        return others.with_worker(self._workers.capacity()) if agent == self._workers.agent else others

    def others_serve(self, agent: str) -> bool:
        """Whether another replica's worker takes jobs for the agent, now or when its calls end."""
        workers = (r.capacity for r in self._living_others() if r.agent == agent)
        return any(worker.slots and worker.registered and worker.takes_jobs for worker in workers)

    def takes_next(self, agent: str) -> bool:
        """Whether a job for the agent is best taken by this replica: it has a process for it, and none of the
        others is less busy. The leader must not fill up while they are idle."""
        own = self._workers.capacity()
        if agent != self._workers.agent or not own.free:
            return False
        others = (r.capacity for r in self._living_others() if r.agent == agent and r.capacity.free)
        return all(own.taken <= other.taken for other in others)

    def node(self, want: Want) -> str:
        """The LiveKit node that the want was pinned under, while a worker is registered there; else another
        one; "" while no worker is registered, or one that was there may be there still. Another one than the
        want's tells that LiveKit (or that node of it) has restarted (facts 80, 84)."""
        nodes = self.nodes()
        if want.node in nodes:
            return want.node
        if want.node and any(r.capacity.node_id == want.node for r in self._living_others()):
            return ""  # whoever was registered there has not been heard since the store was away
        return min(nodes, default="")

    def nodes(self) -> frozenset[str]:
        """By what was heard lately: after the store was away, nobody has lapsed, and LiveKit may have
        restarted meanwhile."""
        if self._others_nodes is None:
            found = (r.capacity.node_id for r in self._living_others() if r.beat_at >= self._heard_since)
            self._others_nodes = frozenset(node for node in found if node)
        own = self._workers.capacity().node_id
        return self._others_nodes if not own or own in self._others_nodes else self._others_nodes | {own}

    def _forget_sums(self) -> None:
        self._strengths.clear()
        self._others_nodes = None
        self._served = None

    def _living_others(self) -> Iterator[Replica]:
        return (replica for replica in self._others.values() if replica.id not in self._lapsed)
