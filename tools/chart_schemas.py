"""What Kubernetes or an operator would refuse of a manifest, by their published schemas.

    pip install kubernetes-validate
    KALEPOOL_CRDS=FOLDER .venv/bin/python -m pytest tests/unit/test_chart.py

KALEPOOL_CRDS is a folder with the operators' CustomResourceDefinitions: KubeRay's ray.io_rayclusters.yaml and
CloudNativePG's postgresql.cnpg.io_clusters.yaml. What has no schema here is not checked.
"""

from __future__ import annotations

import functools
import importlib
import os
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

KUBERNETES = "1.31"


def faults(manifest: dict[str, Any]) -> list[str]:
    """A line for each; none where it is well or where nobody knows."""
    definition = _definition(manifest)
    if definition is not None:
        return [
            f"{manifest['kind']} {'/'.join(map(str, error.path))}: {error.message}"
            for error in Draft202012Validator(_closed(definition)).iter_errors(manifest)
        ]
    return [] if "." in manifest["apiVersion"].partition("/")[0].replace(".k8s.io", "") else _of_kubernetes(manifest)


@functools.cache
def _crds() -> list[dict[str, Any]]:
    folder = os.environ.get("KALEPOOL_CRDS")
    files = sorted(Path(folder).glob("*.yaml")) if folder else []
    return [yaml.load(file.read_text(), yaml.CSafeLoader)["spec"] for file in files]


def _definition(manifest: dict[str, Any]) -> dict[str, Any] | None:
    for crd in _crds():
        for version in crd["versions"]:
            if (
                manifest["apiVersion"] == f"{crd['group']}/{version['name']}"
                and manifest["kind"] == crd["names"]["kind"]
            ):
                return version["schema"]["openAPIV3Schema"]
    return None


def _closed(schema: Any) -> Any:
    """The schema, with fields that it does not name refused: the API server would drop them."""
    if not isinstance(schema, dict):
        return schema
    closed = {
        key: {name: _closed(field) for name, field in value.items()} if key == "properties" else _closed(value)
        for key, value in schema.items()
    }
    keeps = closed.pop("x-kubernetes-preserve-unknown-fields", False)
    if closed.pop("x-kubernetes-int-or-string", False):
        closed.pop("type", None)
        closed.pop("anyOf", None)
    if "properties" in closed and not keeps:
        names = closed["properties"]
        if set(names) >= {"metadata", "spec"}:
            names["metadata"] = {"type": "object"}
        closed.setdefault("additionalProperties", False)
    return closed


def _of_kubernetes(manifest: dict[str, Any]) -> list[str]:
    try:
        validator = importlib.import_module("kubernetes_validate")
    except ModuleNotFoundError:
        return []
    try:
        validator.validate(manifest, KUBERNETES, strict=True)
    except validator.ValidationError as error:
        return [f"{manifest['kind']} {'/'.join(map(str, error.path))}: {error.message}"]
    return []
