"""The schemas of other people's resources, from the Go modules that they come with.

Go's tools fetch those into .tools; nothing of them is kept in this repository.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import yaml
from openapi_schema_validator import OAS30Validator

CACHE = Path(__file__).parents[2] / ".tools" / "go"
FETCH_TIMEOUT = 300.0

KEDA = "github.com/kedacore/keda/v2@v2.21.0"
PROMETHEUS_OPERATOR = "github.com/prometheus-operator/prometheus-operator@v0.85.0"
WHERE = {
    ("keda.sh/v1alpha1", "ScaledObject"): (KEDA, "config/crd/bases/keda.sh_scaledobjects.yaml"),
    ("monitoring.coreos.com/v1", "ServiceMonitor"): (
        PROMETHEUS_OPERATOR,
        "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
    ),
    ("monitoring.coreos.com/v1", "PrometheusRule"): (
        PROMETHEUS_OPERATOR,
        "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
    ),
}
"""(apiVersion, kind): the module, and the file in it."""


def faults(manifest: dict[str, Any]) -> list[str]:
    """What its definition says against a resource; fields that the definition does not know as well."""
    schema = _schema(manifest["apiVersion"], manifest["kind"])
    return [f"{fault.json_path}: {fault.message}" for fault in OAS30Validator(schema).iter_errors(manifest)]


@functools.cache
def _schema(api_version: str, kind: str) -> dict[str, Any]:
    module, path = WHERE[api_version, kind]
    definition = yaml.safe_load((_folder(module) / path).read_text())
    assert definition["spec"]["names"]["kind"] == kind
    version = api_version.rpartition("/")[2]
    (schema,) = [
        one["schema"]["openAPIV3Schema"] for one in definition["spec"]["versions"] if one["name"] == version
    ]
    assert isinstance(schema, dict)
    _close(schema)
    return schema


@functools.cache
def _folder(module: str) -> Path:
    """Where Go has unpacked a module, fetched if need be. Mark the test `needs("go")`."""
    env = {
        **os.environ,
        "GOMODCACHE": str(CACHE),
        "GOFLAGS": "-modcacherw",
    }  # so that `make clean` may remove it
    command = ["go", "mod", "download", "-json", module]
    fetched = subprocess.run(command, env=env, capture_output=True, text=True, timeout=FETCH_TIMEOUT)
    assert fetched.returncode == 0, fetched.stdout + fetched.stderr
    return Path(json.loads(fetched.stdout)["Dir"])


def _close(schema: object) -> None:
    """Allow no field that is not named, wherever some are. A cluster would drop it without a word."""
    if isinstance(schema, list):
        for inner in schema:
            _close(inner)
    if not isinstance(schema, dict):
        return
    for inner in schema.values():
        _close(inner)
    keeps = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if schema.get("type") == "object" and isinstance(schema.get("properties"), dict) and not keeps:
        schema["additionalProperties"] = False
