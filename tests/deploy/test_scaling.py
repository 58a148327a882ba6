"""Scaling and drains fit together: what is wanted is what there will be, and nobody's call is cut for it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest

from gateway.metrics import Metrics
from tests.deploy.manifests import OVERLAYS, Manifest, environment, every, named, one, role

METRIC = "roomkeeper_wanted_workers"
LEFT_ALONE = {
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    "karpenter.sh/do-not-disrupt": "true",
}

pytestmark = pytest.mark.needs("kustomize")


def autoscalers(overlay: str) -> dict[str, Manifest]:
    """What sets a Deployment's replicas, by the Deployment's name."""
    both = [*every("HorizontalPodAutoscaler", overlay), *every("ScaledObject", overlay)]
    return {one["spec"]["scaleTargetRef"]["name"]: one for one in both}


def behavior(autoscaler: Manifest) -> Any:
    spec = autoscaler["spec"]
    return spec.get("behavior") or spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]


def test_replicas_are_what_is_wanted() -> None:
    """The metric is the number itself: divided by 1 it is taken as it is (AverageValue), by either road."""
    (metric,) = one("HorizontalPodAutoscaler", "roomkeeper", "redis")["spec"]["metrics"]
    assert metric["external"]["metric"]["name"] == METRIC
    assert metric["external"]["target"] == {"type": "AverageValue", "averageValue": "1"}
    (trigger,) = one("ScaledObject", "roomkeeper-worker", "scale-to-zero")["spec"]["triggers"]
    assert trigger["metadata"]["query"] == f"max({METRIC})"
    assert (trigger["metricType"], trigger["metadata"]["threshold"]) == ("AverageValue", "1")


def test_the_metric_exists() -> None:
    """By the name that Roomkeeper gives it."""
    metrics = Metrics()
    metrics.tell_scaling(list)
    assert METRIC in {family.name for family in metrics.registry.collect()}


def test_silence_is_no_zero() -> None:
    """While nobody leads there is no value, and no worker may be ended for that."""
    spec = one("ScaledObject", "roomkeeper-worker", "scale-to-zero")["spec"]
    assert spec["triggers"][0]["metadata"]["ignoreNullValues"] == "false"
    assert "fallback" not in spec


def test_it_goes_to_zero() -> None:
    """No worker is kept, and no free slot counted in, which would be one; gateways stay to hold the line."""
    spec = one("ScaledObject", "roomkeeper-worker", "scale-to-zero")["spec"]
    assert spec["minReplicaCount"] == 0
    assert spec["triggers"][0]["metadata"]["activationThreshold"] == "0"
    gateway = one("Deployment", "roomkeeper", "scale-to-zero")
    assert role(gateway) == "gateway"
    assert gateway["spec"]["replicas"] >= 2
    assert environment(gateway, "scale-to-zero")["ROOMKEEPER_BUFFER"] == "0"


def test_gateways_know_of_workers_that_are_not_there() -> None:
    """Their slots, their agent's name, and where agents report: nobody else can tell."""
    gateway, worker = every("Deployment", "scale-to-zero")
    assert (role(gateway), role(worker)) == ("gateway", "worker")
    known, theirs = environment(gateway, "scale-to-zero"), environment(worker, "scale-to-zero")
    for name in ("ROOMKEEPER_SLOTS", "LIVEKIT_AGENT_NAME"):
        assert known[name] == theirs[name]
    door = urlsplit(known["ROOMKEEPER_PUBLIC_URL"])
    assert one("Service", door.hostname or "", "scale-to-zero")["spec"]["ports"][0]["port"] == door.port


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_applying_again_does_not_set_replicas_back(overlay: str) -> None:
    """Replicas are named where nobody else sets them, and only there."""
    scaled = autoscalers(overlay)
    for deployment in every("Deployment", overlay):
        assert ("replicas" in deployment["spec"]) == (deployment["metadata"]["name"] not in scaled)


@pytest.mark.parametrize("overlay", ["redis", "scale-to-zero"])
def test_up_at_once_and_down_slowly(overlay: str) -> None:
    """Up: nothing is waited for, and no small difference ignored. Down: a pod that goes takes its calls out
    of the count, so the next one seems one too many; it goes later, or not at all."""
    for autoscaler in autoscalers(overlay).values():
        up, down = behavior(autoscaler)["scaleUp"], behavior(autoscaler)["scaleDown"]
        assert (up["tolerance"], up["stabilizationWindowSeconds"]) == ("0", 0)
        assert down["stabilizationWindowSeconds"] >= 600
        assert all(policy["periodSeconds"] >= 300 for policy in down["policies"])


def test_both_roads_scale_alike() -> None:
    """Whoever changes one is reminded of the other."""
    by_hpa, by_keda = autoscalers("redis").values(), autoscalers("scale-to-zero").values()
    assert [behavior(one) for one in by_hpa] == [behavior(one) for one in by_keda]


@pytest.mark.parametrize("overlay", ["redis", "scale-to-zero"])
def test_a_roll_replaces_before_it_ends(overlay: str) -> None:
    """No pod is told to end before another one is ready; and nodes are emptied one pod at a time."""
    for deployment in every("Deployment", overlay):
        strategy = deployment["spec"]["strategy"]
        assert strategy["type"] == "RollingUpdate"
        assert strategy["rollingUpdate"]["maxUnavailable"] == 0
        budget = one("PodDisruptionBudget", deployment["metadata"]["name"], overlay)
        assert budget["spec"]["maxUnavailable"] == 1
        assert budget["spec"]["selector"] == deployment["spec"]["selector"]


def test_a_file_has_one_process() -> None:
    """The next one comes when the last one is gone; no budget keeps it where it is, nobody scales it."""
    (deployment,) = every("Deployment", "single")
    assert deployment["spec"]["replicas"] == 1
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    assert not every("PodDisruptionBudget", "single")
    assert not autoscalers("single")
    (claim,) = every("PersistentVolumeClaim", "single")
    assert claim["spec"]["accessModes"] == ["ReadWriteOncePod"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nodes_with_calls_are_left_alone(overlay: str) -> None:
    """Autoscalers of nodes would cut a drain after minutes; gateways have nothing to drain."""
    for deployment in every("Deployment", overlay):
        found = deployment["spec"]["template"]["metadata"].get("annotations", {})
        assert found == ({} if role(deployment) == "gateway" else LEFT_ALONE), named(deployment)
