"""The pool's metrics, in the registry of whoever serves `/metrics`; livekit-agents' own among them."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, Metric
from prometheus_client.registry import Collector

_START_SECONDS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
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
            "Job processes that ended by a signal or with an error, by when: warm (they had no job), job.",
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
        self.corpse = Gauge(
            "roomkeeper_corpse",
            "1 while this worker takes no job because those that it took never got into their rooms.",
            registry=registry,
        )
