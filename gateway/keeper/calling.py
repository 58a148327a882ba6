"""When an agent is called for: one is lacking, and there is no reason to wait or to give up. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gateway.keeper.model import State, Want
from gateway.keeper.situation import Action, Dispatch, Plan, Situation, change
from gateway.settings import KeeperSettings

NOBODY = "waiting for somebody to be in the room"


def call(s: Situation, rules: KeeperSettings, first: Sequence[Action]) -> Plan:
    """Dispatch, unless there is a reason to wait or to give up."""
    want = s.want
    if want.needs_person and not s.seen.people:
        idle = replace(change(want, State.REPLACING if want.identity else State.WAITING, NOBODY, s.now))
        return Plan(want=replace(idle, lacking_since=0.0), actions=first)
    if not want.lacking_since:
        want = replace(want, lacking_since=s.now)
    deadline = deadline_of(want, rules)
    if s.now >= deadline:
        why = f"no agent within {rules.give_up_after:g} s: {want.reason or 'none came'}"
        return Plan(want=change(want, State.GAVE_UP, why, s.now), actions=first)
    if s.now < want.not_before:
        return Plan(want=want, actions=first, due=min(want.not_before, deadline))
    return Plan(want=want, actions=[*first, Dispatch()], due=deadline)


def deadline_of(want: Want, rules: KeeperSettings) -> float:
    """When a want without a working agent is given up."""
    return (want.trouble_since or want.lacking_since or want.asked_at) + rules.give_up_after
