"""What `kubectl apply -k` would send for each overlay, as plain values, and ways to find things in it."""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]

K8S = Path(__file__).parents[2] / "k8s"
OVERLAYS = sorted(folder.name for folder in (K8S / "overlays").iterdir())
BUILD_TIMEOUT = 60.0


@functools.cache
def build(overlay: str) -> tuple[Manifest, ...]:
    """Every manifest of an overlay, as kustomize makes it. Mark the test `needs("kustomize")`."""
    command = ["kustomize", "build", str(K8S / "overlays" / overlay)]
    built = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_TIMEOUT)
    assert built.returncode == 0, built.stderr
    return tuple(yaml.safe_load_all(built.stdout))


def every(kind: str, overlay: str) -> list[Manifest]:
    return [manifest for manifest in build(overlay) if manifest["kind"] == kind]


def one(kind: str, name: str, overlay: str) -> Manifest:
    found = [manifest for manifest in every(kind, overlay) if manifest["metadata"]["name"] == name]
    assert len(found) == 1, f"{len(found)} of {kind} {name} in {overlay}"
    return found[0]


def named(manifest: Manifest) -> str:
    return f"{manifest['kind']} {manifest['metadata']['name']}"


def pod(deployment: Manifest) -> Manifest:
    """The spec of its pods."""
    spec = deployment["spec"]["template"]["spec"]
    assert isinstance(spec, dict)
    return spec


def container(deployment: Manifest) -> Manifest:
    """The one container of its pods."""
    (only,) = pod(deployment)["containers"]
    assert isinstance(only, dict)
    return only


def pod_labels(deployment: Manifest) -> Mapping[str, str]:
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert isinstance(labels, dict)
    return labels


def selected(selector: Mapping[str, str], overlay: str) -> list[str]:
    """The names of the Deployments whose pods have all of these labels."""
    return [
        deployment["metadata"]["name"]
        for deployment in every("Deployment", overlay)
        if selector.items() <= pod_labels(deployment).items()
    ]


def environment(deployment: Manifest, overlay: str) -> dict[str, str]:
    """What its container finds set; values from the Secret are made up."""
    found = dict(SECRET)
    for source in container(deployment)["envFrom"]:
        if "configMapRef" in source:
            found |= one("ConfigMap", source["configMapRef"]["name"], overlay)["data"]
    for variable in container(deployment).get("env", []):
        key = variable["valueFrom"]["secretKeyRef"]["key"]
        found[variable["name"]] = {"ROOMKEEPER_STORE": "redis://redis.example.com:6379/0"}[key]
    return found


SECRET = {"LIVEKIT_API_KEY": "a-key", "LIVEKIT_API_SECRET": "a-dummy-secret-of-more-than-32-bytes"}
"""What docs/operations.md has an operator put into the Secret, for every overlay."""


def role(deployment: Manifest) -> str:
    """What `--role` it is given."""
    command = container(deployment)["args"]
    assert command[0] == "start"
    return str(command[command.index("--role") + 1]) if "--role" in command else "all"


def every_text(value: object) -> Iterator[str]:
    """All keys and values in it, however deep."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield str(key)
            yield from every_text(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from every_text(inner)
    else:
        yield str(value)
