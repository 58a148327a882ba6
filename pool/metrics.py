"""The pool's metrics, in the registry of whoever serves `/metrics`; livekit-agents' own among them."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, Metric
from prometheus_client.registry import Collector

from pool.figures import Figures, Time, believed

_START_SECONDS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_VOICE_SECONDS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
_UPSTREAM = "lk_agents_"


class Upstream(Collector):
    """livekit-agents' metrics: all four are counted in this process (fact 60), in the default registry."""

    def describe(self) -> Iterator[Metric]:
        """Names are not known before livekit-agents is imported."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        return (metric for metric in REGISTRY.collect() if metric.name.startswith(_UPSTREAM))


class PoolMetrics:
    """The instruments, one attribute each. Sizes in bytes, times in seconds."""

    def __init__(self, registry: CollectorRegistry) -> None:
        registry.register(Upstream())
        self.voice = VoiceMetrics(registry)
        self.job_start = Histogram(
            "roomkeeper_job_start_seconds",
            "From LiveKit's assignment (or the direct launch) to the call of the agent's entrypoint.",
            buckets=_START_SECONDS,
            registry=registry,
        )
        self.processes = Gauge(
            "roomkeeper_processes",
            "Processes by kind: gateway (this one), forkserver (with what Python starts beside it), warm (or"
            " getting warm), job.",
            ["kind"],
            registry=registry,
        )
        self.memory = Gauge(
            "roomkeeper_process_memory_bytes",
            "Memory of the processes of a kind together (PSS: what several share is divided among them).",
            ["kind"],
            registry=registry,
        )
        self.died = Counter(
            "roomkeeper_job_processes_died_total",
            "Job processes that ended by a signal or with an error, those that we killed included, by when:"
            " warm (they had no job), job.",
            ["when"],
            registry=registry,
        )
        self.memory_exceeded = Counter(
            "roomkeeper_memory_limit_exceeded_total",
            "Job processes that were ended because they had more memory than ROOMKEEPER_MEMORY_LIMIT.",
            registry=registry,
        )
        self.unresponsive = Counter(
            "roomkeeper_unresponsive_jobs_total",
            "Job processes that were ended because they did not answer for ROOMKEEPER_UNRESPONSIVE_AFTER.",
            registry=registry,
        )
        self.distrusted = Gauge(
            "roomkeeper_distrusted",
            "1 while this worker is distrusted: its jobs did not get into their rooms, so it takes none for a"
            " while, then one at a time, until one joins.",
            registry=registry,
        )


class VoiceMetrics:
    """What `AgentSession`s of this pool's jobs tell of their turns; all calls together."""

    def __init__(self, registry: CollectorRegistry) -> None:
        told = {
            Time.FIRST_TOKEN: (
                "time_to_first_token",
                "From the request to the language model to its first token.",
            ),
            Time.FIRST_AUDIO: (
                "time_to_first_audio",
                "From the first text for the voice to its first audio; of a realtime model, from the"
                " beginning of its response.",
            ),
            Time.END_OF_TURN: (
                "end_of_turn_delay",
                "From the end of a person's speech to the decision that it is the agent's turn.",
            ),
            Time.RESPONSE: (
                "response_delay",
                "From the end of a person's speech to the beginning of the agent's: what the caller waits.",
            ),
        }
        self._times = {
            kind: Histogram(
                f"roomkeeper_voice_{name}_seconds", what, buckets=_VOICE_SECONDS, registry=registry
            )
            for kind, (name, what) in told.items()
        }
        self._interruptions = Counter(
            "roomkeeper_voice_interruptions_total",
            "Replies of agents that were cut off after they had begun.",
            registry=registry,
        )
        self._tokens = Counter(
            "roomkeeper_voice_tokens_total",
            "Tokens by model (llm, stt, tts; realtime models are llm) and kind: input, cached (of the input),"
            " output.",
            ["model", "kind"],
            registry=registry,
        )

    def heard(self, figures: Figures) -> None:
        """Count what a job process told, as far as it can be."""
        figures = believed(figures)
        for kind, seconds in figures.times.items():
            for each in seconds:
                self._times[kind].observe(each)
        if figures.interruptions:
            self._interruptions.inc(figures.interruptions)
        for tokens, count in figures.tokens.items():
            self._tokens.labels(*tokens.labels).inc(count)
