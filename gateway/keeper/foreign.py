"""What to do about a want whose agent other people's workers serve: all that is known of it is who is in the
room. Pure.
"""

from __future__ import annotations

from dataclasses import replace

from gateway.keeper.calling import call
from gateway.keeper.model import State
from gateway.keeper.situation import (
    LOOK_SOON,
    LoseDispatch,
    Plan,
    RemoveParticipant,
    Situation,
    change,
    finish,
)
from gateway.settings import KeeperSettings

RELAUNCH_TIMEOUT = 15.0
"""Seconds that LiveKit may take to launch a job again, once it has said that it does (fact 10)."""


def foreign(s: Situation, rules: KeeperSettings) -> Plan:
    """An agent of a worker that is not ours: all that is known is who is in the room."""
    want = s.want
    agents = sorted(s.seen.agents(want.agent), key=lambda p: (p.joined_at, p.identity))
    if want.evict:
        removals = [RemoveParticipant(p.identity, "restarted") for p in agents]
        return Plan(want=replace(want, evict=False), actions=removals, due=s.now)
    if agents:  # of two, the one longest present stays
        first, *others = agents
        joined = replace(
            change(want, State.JOINED, "", s.now),
            identity=first.identity,
            lacking_since=0.0,
            dispatched_at=0.0,
            failures=0,
            trouble_since=0.0,
        )
        return Plan(want=joined, actions=[RemoveParticipant(p.identity, "stray") for p in others])
    if want.state is State.JOINED:
        if want.asked_at <= s.left_cleanly.get(want.identity, 0.0):  # I5
            return finish(want, "the agent left by itself", s.now)
        if rules.foreign_replace == "never":
            return finish(want, "the agent is gone; agents of other workers are not replaced", s.now)
        gone = change(want, State.REPLACING, "the agent is gone", s.now)
        relaunches = s.now < s.relaunched_at + RELAUNCH_TIMEOUT
        grace = max(rules.redispatch_grace, RELAUNCH_TIMEOUT if relaunches else 0.0)
        gone = replace(gone, not_before=max(gone.not_before, s.now + grace))
        return call(replace(s, want=gone), rules, [])
    if want.dispatched_at:
        until = want.dispatched_at + rules.foreign_timeout
        if s.now < until:
            return Plan(want=want, due=min(until, s.now + 2 * LOOK_SOON))
        return Plan(want=want, actions=[LoseDispatch()], due=s.now)
    return call(s, rules, [])
