"""What a pod is allowed, asked and given, is what the process in it needs."""

from __future__ import annotations

import re

import pytest

from gateway.app import PROBE_TIMEOUT
from gateway.environment import read
from gateway.http.routes import PROBES
from gateway.server import LAST_REQUESTS
from gateway.settings import Settings
from tests.deploy.manifests import (
    K8S,
    OVERLAYS,
    Manifest,
    build,
    container,
    environment,
    every,
    every_text,
    one,
    pod,
    role,
    selected,
)

TO_END = 30.0
"""Seconds that a process may take after its drain: it ends what is left (3 s and a SIGKILL), retires, and
answers the last requests."""
READER = (K8S.parent / "gateway" / "environment.py").read_text()
READ = {name for names in re.findall(r'get\(\s*"([A-Z_ ]+)"', READER) for name in names.split()}
"""Every variable that Roomkeeper reads."""

pytestmark = [pytest.mark.needs("kustomize"), pytest.mark.parametrize("overlay", OVERLAYS)]


def settings_of(deployment: Manifest, overlay: str) -> Settings:
    return read(environment(deployment, overlay), dev=False, role=role(deployment))


def pre_stop(deployment: Manifest) -> float:
    hook = container(deployment).get("lifecycle", {}).get("preStop", {"sleep": {"seconds": 0}})
    return float(hook["sleep"]["seconds"])


def test_settings_start(overlay: str) -> None:
    """Each process can start with what it is given: nothing is refused, nothing is missing but the Secret."""
    for deployment in every("Deployment", overlay):
        settings = settings_of(deployment, overlay)
        assert bool(settings.store.url) == (overlay != "single")
        assert settings.pool.slots == int(environment(deployment, overlay)["ROOMKEEPER_SLOTS"])


def test_every_variable_is_one_that_is_read(overlay: str) -> None:
    """A variable by another name would do nothing, silently."""
    assert "ROOMKEEPER_SLOTS" in READ
    assert "ROOMKEEPER_PORT" in READ
    for deployment in every("Deployment", overlay):
        assert environment(deployment, overlay).keys() <= READ


def test_the_grace_time_is_longer_than_a_drain(overlay: str) -> None:
    """Kubernetes counts it from the first moment, the preStop hook included. It is not much longer either:
    who changes one of them is told of the other."""
    for deployment in every("Deployment", overlay):
        drain = settings_of(deployment, overlay).pool.drain_timeout if role(deployment) != "gateway" else 0.0
        needed = pre_stop(deployment) + drain + LAST_REQUESTS
        grace = pod(deployment)["terminationGracePeriodSeconds"]
        assert needed + TO_END <= grace <= needed + 3 * TO_END


def test_who_takes_requests_is_told_to_end_later_and_no_other(overlay: str) -> None:
    """Else an idle one has drained and gone before every node has heard of it."""
    for deployment in every("Deployment", overlay):
        assert (pre_stop(deployment) > 0) == (role(deployment) != "worker")


def test_probes_ask_what_is_served_on_the_port_that_is_listened_on(overlay: str) -> None:
    """Container, Service, probes, and the setting agree."""
    paths = {route.path for route in PROBES}
    for deployment in every("Deployment", overlay):
        spec = container(deployment)
        (port,) = spec["ports"]
        assert port["containerPort"] == settings_of(deployment, overlay).http.port
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert spec[probe]["httpGet"]["port"] == port["name"]
            assert spec[probe]["httpGet"]["path"] in paths
        for service in every("Service", overlay):
            (served,) = service["spec"]["ports"]
            assert (served["targetPort"], served["port"]) == (port["name"], port["containerPort"])
    for monitor in every("ServiceMonitor", overlay):
        (endpoint,) = monitor["spec"]["endpoints"]
        assert endpoint["path"] in paths
        assert endpoint["port"] == port["name"]


def test_readiness_waits_for_its_answer_and_decides_about_no_restart(overlay: str) -> None:
    """/readyz asks LiveKit, which may take its time, or be away for an hour: no pod is killed for that."""
    for deployment in every("Deployment", overlay):
        spec = container(deployment)
        assert spec["readinessProbe"]["httpGet"]["path"] == "/readyz"
        assert spec["readinessProbe"]["timeoutSeconds"] > PROBE_TIMEOUT
        assert {spec[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe")} == {"/livez"}


def test_a_process_that_hangs_is_not_left_to_drain(overlay: str) -> None:
    """It cannot; with the pod's own grace time it would hang for that as well. And it is given time to wake
    up: its calls end with it."""
    for deployment in every("Deployment", overlay):
        probe = container(deployment)["livenessProbe"]
        assert probe["terminationGracePeriodSeconds"] <= 30
        assert probe["periodSeconds"] * probe["failureThreshold"] >= 60


def test_nothing_is_allowed_that_is_not_needed(overlay: str) -> None:
    """No root, no capability, no token of the cluster's, no writing but where it is needed."""
    for deployment in every("Deployment", overlay):
        spec, context = pod(deployment), container(deployment)["securityContext"]
        assert spec["automountServiceAccountToken"] is False
        assert (
            one("ServiceAccount", spec["serviceAccountName"], overlay)["automountServiceAccountToken"]
            is False
        )
        assert spec["enableServiceLinks"] is False  # ROOMKEEPER_PORT=tcp://... otherwise
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] >= 1000
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}


def test_what_is_written_to_is_mounted(overlay: str) -> None:
    """/tmp for sockets and $HOME, and the folder of a store that is a file; each mount has a volume."""
    for deployment in every("Deployment", overlay):
        mounted = {mount["mountPath"]: mount["name"] for mount in container(deployment)["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in pod(deployment)["volumes"]}
        assert set(mounted.values()) == volumes.keys()
        assert "emptyDir" in volumes[mounted["/tmp"]]
        settings = settings_of(deployment, overlay)
        if not settings.store.url:
            claim = volumes[mounted[str(settings.store.path.parent)]]["persistentVolumeClaim"]["claimName"]
            assert one("PersistentVolumeClaim", claim, overlay)


def test_memory_is_bounded_and_cpu_is_not(overlay: str) -> None:
    """A voice that waits for its share of a CPU stutters; a node without memory kills whom it likes."""
    for deployment in every("Deployment", overlay):
        resources = container(deployment)["resources"]
        assert {"cpu", "memory"} <= resources["requests"].keys()
        assert resources["limits"].keys() == {"memory"}


def test_every_pod_runs_the_same_image(overlay: str) -> None:
    """Else `images` of an operator's own overlay would change half of them."""
    assert len({container(deployment)["image"] for deployment in every("Deployment", overlay)}) == 1


def test_no_secret_is_in_a_manifest(overlay: str) -> None:
    """Keys, passwords and tokens come from a Secret that the operator makes."""
    assert not every("Secret", overlay)
    for manifest in every("ConfigMap", overlay):
        assert not [name for name in manifest["data"] if re.search("SECRET|PASSWORD|TOKEN|API_KEY", name)]
    texts = [text for manifest in build(overlay) for text in every_text(manifest)]
    assert not [text for text in texts if re.search(r"://[^/\s]*:[^/\s]*@|eyJ[\w-]{10,}|whsec_", text)]


def test_services_policies_and_budgets_find_their_pods(overlay: str) -> None:
    """Each selects something; requests go to those that take them; every pod is scraped, and has a policy."""
    deployments = {deployment["metadata"]["name"] for deployment in every("Deployment", overlay)}
    takes_requests = {d["metadata"]["name"] for d in every("Deployment", overlay) if role(d) != "worker"}
    for deployment in every("Deployment", overlay):
        selector = deployment["spec"]["selector"]["matchLabels"]
        assert selected(selector, overlay) == [deployment["metadata"]["name"]]
        for spread in pod(deployment)["topologySpreadConstraints"]:
            assert spread["labelSelector"]["matchLabels"] == selector
    assert set(selected(one("Service", "roomkeeper", overlay)["spec"]["selector"], overlay)) == takes_requests
    metrics = one("Service", "roomkeeper-metrics", overlay)
    assert set(selected(metrics["spec"]["selector"], overlay)) == deployments
    for kind in ("PodDisruptionBudget", "NetworkPolicy"):
        for manifest in every(kind, overlay):
            spec = manifest["spec"]
            assert selected(spec.get("podSelector", spec.get("selector"))["matchLabels"], overlay)
    for direction in ("Ingress", "Egress"):
        policies = [
            p["spec"] for p in every("NetworkPolicy", overlay) if direction in p["spec"]["policyTypes"]
        ]
        covered = [name for p in policies for name in selected(p["podSelector"]["matchLabels"], overlay)]
        assert set(covered) == deployments


def test_prometheus_sees_pods_that_drain(overlay: str) -> None:
    """They are neither ready nor endpoints of a usual Service, and the alerts are about them."""
    metrics = one("Service", "roomkeeper-metrics", overlay)
    assert metrics["spec"]["publishNotReadyAddresses"] is True
    for monitor in every("ServiceMonitor", overlay):
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        matching = [
            service["metadata"]["name"]
            for service in every("Service", overlay)
            if wanted <= service["metadata"].get("labels", {}).items()
        ]
        assert matching == ["roomkeeper-metrics"]  # by one of the two alone, or each pod counts twice
