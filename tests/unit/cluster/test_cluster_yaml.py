"""cluster.yaml is what Ray takes, on own machines and on a cloud, and carries nothing of the pool's secrets."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray.autoscaler
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from kalepool.cluster.fleet import OBJECT_STORE_BYTES, SYSTEM_CONFIG

TEXT = (Path(__file__).parents[3] / "cluster.yaml").read_text()


def on_own_machines() -> dict[str, Any]:
    return yaml.safe_load(TEXT)


def on_a_cloud() -> dict[str, Any]:
    """The file edited as its last comment says."""
    without_provider = re.sub(r"^provider:\n(  .*\n)+", "", TEXT, flags=re.MULTILINE)
    return yaml.safe_load(re.sub(r"^#\| ?", "", without_provider, flags=re.MULTILINE))


@pytest.mark.parametrize("config", [on_own_machines(), on_a_cloud()], ids=["own", "cloud"])
def test_ray_takes_it(config: dict[str, Any]):
    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    jsonschema.validate(config, schema)
    validate_config(prepare_config(config))


def test_a_cloud_has_a_head_and_workers_with_and_without_cards():
    config = prepare_config(on_a_cloud())
    assert config["head_node_type"] == "head"
    assert set(config["available_node_types"]) == {"head", "cpu_worker", "gpu_worker"}
    assert all(config["available_node_types"][name]["min_workers"] == 0 for name in ("cpu_worker", "gpu_worker"))


def test_nodes_notice_a_death_as_our_own_ray_does():
    (head,) = on_own_machines()["head_start_ray_commands"]
    said = re.search(r"--system-config='(.*?)'", head)
    assert said and json.loads(said[1]) == SYSTEM_CONFIG
    assert f"--object-store-memory={OBJECT_STORE_BYTES}" in head


def test_nothing_of_the_pool_travels_but_its_code():
    config = on_own_machines()
    assert {".env", ".kalepool", "*.key"} <= set(config["rsync_exclude"])
    assert set(config["file_mounts"]) == {"~/.ray/auth_token", "~/kalepool"}
    commands = " ".join(config["setup_commands"] + config["worker_start_ray_commands"])
    assert "KALEPOOL_" not in commands and "DATABASE" not in commands
