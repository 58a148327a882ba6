"""Every overlay can be built, and a cluster knows each field of it."""

from __future__ import annotations

import copy
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.deploy import crds
from tests.deploy.manifests import K8S, OVERLAYS, Manifest, build, every, every_text, named

OLDEST, NEWEST = "1.35", "1.37"
"""Of Kubernetes: what the overlays ask for, and what the validator knows."""

pytestmark = pytest.mark.needs("kustomize")


def kubernetes_own(overlay: str) -> list[Manifest]:
    return [manifest for manifest in build(overlay) if not is_custom(manifest)]


def is_custom(manifest: Manifest) -> bool:
    return (manifest["apiVersion"], manifest["kind"]) in crds.WHERE


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubernetes_knows_every_field(overlay: str, version: str) -> None:
    """Strictly: a field by another name is a fault."""
    for manifest in kubernetes_own(overlay):
        kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.needs("go")
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_operators_know_every_field_of_theirs(overlay: str) -> None:
    """KEDA's and the Prometheus operator's resources, by their own definitions."""
    found = {named(manifest): crds.faults(manifest) for manifest in build(overlay) if is_custom(manifest)}
    assert not {name: faults for name, faults in found.items() if faults}


def test_a_field_that_does_not_exist_is_a_fault() -> None:
    """The test of the tests: Kubernetes' side."""
    deployment = copy.deepcopy(every("Deployment", "single")[0])
    deployment["spec"]["template"]["spec"]["terminationGracePeriod"] = 60
    with pytest.raises(kubernetes_validate.ValidationError, match="terminationGracePeriod"):
        kubernetes_validate.validate(deployment, NEWEST, strict=True)


@pytest.mark.needs("go")
@pytest.mark.parametrize(
    ("kind", "where", "wrong"),
    [
        ("ScaledObject", ("spec",), {"minReplicas": 0}),
        ("ScaledObject", ("spec", "triggers", 0), {"metricType": 1}),
        ("ServiceMonitor", ("spec", "endpoints", 0), {"interval": "soon"}),
        ("ServiceMonitor", ("spec", "endpoints", 0), {"every": "5s"}),
    ],
)
def test_the_definitions_of_operators_find_faults(
    kind: str, where: tuple[Any, ...], wrong: dict[str, object]
) -> None:
    """The same for theirs."""
    (manifest,) = copy.deepcopy(every(kind, "scale-to-zero"))
    place = manifest
    for step in where:
        place = place[step]
    place.update(wrong)
    assert crds.faults(manifest)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_names_are_unique(overlay: str) -> None:
    """Of two of one kind and name the later would overwrite the earlier."""
    names = [named(manifest) for manifest in build(overlay)]
    assert len(names) == len(set(names))


def test_every_file_is_used() -> None:
    """A manifest that no kustomization names would look as if it did something."""
    named_in = {
        (file.parent / text).resolve()
        for file in K8S.rglob("kustomization.yaml")
        for text in every_text(yaml.safe_load(file.read_text()))
    }
    folders = {file.parent for file in K8S.rglob("kustomization.yaml")}
    roots = {K8S / "overlays" / overlay for overlay in OVERLAYS}
    manifests = {path for path in K8S.rglob("*") if path.is_file() and path.name != "kustomization.yaml"}
    assert not [path for path in manifests | (folders - roots) if path.resolve() not in named_in]
