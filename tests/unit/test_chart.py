"""The Helm chart renders for its value sets, and what it renders fits together. Needs `helm` on the PATH."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.chart_schemas import faults

CHART = Path(__file__).parents[2] / "deploy" / "helm"
VALUES = sorted((CHART / "ci").glob("*.yaml"))

pytestmark = pytest.mark.skipif(shutil.which("helm") is None, reason="the chart is not rendered without helm")


def helm(*arguments: str) -> str:
    done = subprocess.run(["helm", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(params=VALUES, ids=lambda file: file.stem)
def rendered(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    values = str(request.param)
    helm("lint", "--strict", str(CHART), "--values", values)
    return [part for part in yaml.safe_load_all(helm("template", "pool", str(CHART), "--values", values)) if part]


def pods(rendered: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Every pod's template, by who makes it."""
    found: list[tuple[str, dict[str, Any]]] = []
    for part in rendered:
        name, spec = f"{part['kind']} {part['metadata']['name']}", part.get("spec", {})
        if part["kind"] in ("Deployment", "Job"):
            found.append((name, spec["template"]))
        if part["kind"] == "RayCluster":
            found += [(name, group["template"]) for group in [spec["headGroupSpec"], *spec["workerGroupSpecs"]]]
    return found


def test_everything_that_selects_pods_finds_some(rendered: list[dict[str, Any]]) -> None:
    labels = [template["metadata"]["labels"] for _, template in pods(rendered)]
    for part in rendered:
        if part["kind"] not in ("Service", "PodDisruptionBudget", "Deployment"):
            continue
        chosen = part["spec"]["selector"]
        chosen = chosen.get("matchLabels", chosen)
        assert any(chosen.items() <= given.items() for given in labels), (part["kind"], chosen)


def test_no_pod_is_roots_and_only_the_api_has_the_master_key(rendered: list[dict[str, Any]]) -> None:
    keepers: set[str] = set()
    for name, template in pods(rendered):
        spec = template["spec"]
        assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["runAsUser"] == 10001
        for container in spec["containers"]:
            own = container["securityContext"]
            assert own["readOnlyRootFilesystem"] and not own["allowPrivilegeEscalation"]
            mounted = {mount["name"] for mount in container["volumeMounts"]}
            assert mounted <= {volume["name"] for volume in spec["volumes"]}
            if "KALEPOOL_MASTER_KEY" in {variable["name"] for variable in container["env"]}:
                keepers.add(name)
    assert keepers == {"Deployment pool-api"}


def test_workers_get_rays_token_and_no_secret_of_ours(rendered: list[dict[str, Any]]) -> None:
    [cluster] = [part["spec"] for part in rendered if part["kind"] == "RayCluster"]
    assert cluster["authOptions"]["mode"] == "token"
    for group in cluster["workerGroupSpecs"]:
        [container] = group["template"]["spec"]["containers"]
        assert [variable["name"] for variable in container["env"]] == ["RAY_USAGE_STATS_ENABLED"]
        assert container["resources"]["requests"] == container["resources"]["limits"]
    assert yaml.safe_load(cluster["headGroupSpec"]["rayStartParams"]["system-config"])


def test_one_coordinator_of_two_may_go_and_the_api_knows_how_many_there_are(rendered: list[dict[str, Any]]) -> None:
    named = {(part["kind"], part["metadata"]["name"]): part["spec"] for part in rendered if "spec" in part}
    assert named["Deployment", "pool-coordinator"]["replicas"] == 2
    assert named["PodDisruptionBudget", "pool-coordinator"]["maxUnavailable"] == 1
    assert named["PodDisruptionBudget", "pool-ray-head"]["maxUnavailable"] == 0
    [api] = named["Deployment", "pool-api"]["template"]["spec"]["containers"]
    assert {"name": "KALEPOOL_COORDINATORS", "value": "2"} in api["env"]


def test_it_fits_the_schemas(rendered: list[dict[str, Any]]) -> None:
    """Kubernetes' and the operators' own, where they are there: see tools/chart_schemas.py."""
    found = [fault for part in rendered for fault in faults(part)]
    assert not found, "\n".join(found)
