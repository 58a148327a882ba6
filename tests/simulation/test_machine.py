"""The same kinds of steps, chosen by Hypothesis: it looks for the shortest sequence that breaks a promise."""

from __future__ import annotations

import random

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.simulation.generator import ROOMS
from tests.simulation.history import History, Step
from tests.simulation.kinds import KINDS, Kind, Stage
from tests.simulation.play import play

kinds = st.sampled_from(sorted(KINDS.values(), key=lambda kind: kind.name))


class Scenes(RuleBasedStateMachine):
    """Each rule adds a step; the history that came together is played when it is complete."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.5
        self.steps: list[Step] = []
        self.replicas = 1

    @initialize(replicas=st.integers(1, 3))
    def begin(self, replicas: int) -> None:
        self.replicas = replicas
        self.steps = [Step(at=self.now, what="arrive", room=room, who="p") for room in ROOMS[:2]]

    @rule(kind=kinds, chance=st.randoms(use_true_random=False), later=st.sampled_from([0.0, 0.005, 0.3, 3.0]))
    def something_happens(self, kind: Kind, chance: random.Random, later: float) -> None:
        self.now = round(self.now + later, 3)
        fields = kind.draw(chance, Stage(ROOMS[:2], self.replicas))
        self.steps.append(Step(at=self.now, what=kind.name, **fields))

    def teardown(self) -> None:
        history = History(seed=1, replicas=self.replicas, slots=4, steps=self.steps)
        outcome = play(history)
        assert not outcome.broken, f"{outcome.broken}\n{history}"


TestScenes = Scenes.TestCase
TestScenes.settings = settings(
    max_examples=60,
    stateful_step_count=8,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
