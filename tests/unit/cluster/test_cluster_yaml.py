"""cluster.yaml against Ray's own schema and checks, for machines of one's own and for a cloud."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from kalepool.cluster.fleet import SYSTEM_CONFIG

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "cluster.yaml").read_text()


def cloud() -> str:
    """The file with the commented block in place of the blocks for machines of one's own."""
    kept = re.sub(r"^(provider|auth):\n(?: .*\n)+", "", TEXT, flags=re.MULTILINE)
    return re.sub(r"^#~ ", "", kept, flags=re.MULTILINE)


@pytest.fixture(params=["own machines", "cloud"])
def config(request: pytest.FixtureRequest) -> dict[str, Any]:
    return yaml.safe_load(TEXT if request.param == "own machines" else cloud())


def test_ray_accepts_it(config: dict[str, Any]) -> None:
    import ray.autoscaler
    from ray.autoscaler._private.util import prepare_config, validate_config

    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    jsonschema.validate(config, schema)
    validate_config(prepare_config(config))


def test_the_cloud_has_a_head_and_workers_with_and_without_cards() -> None:
    types = yaml.safe_load(cloud())["available_node_types"]
    assert set(types) == {"head", "cpu_worker", "gpu_worker"}
    assert types["head"]["resources"]["CPU"] == 0
    assert all(types[name]["max_workers"] > types[name]["min_workers"] == 0 for name in ("cpu_worker", "gpu_worker"))


def test_nothing_secret_travels(config: dict[str, Any]) -> None:
    sources = {source.rstrip("/") for source in config["file_mounts"].values()}
    assert sources == {
        *("Makefile", "README.md", "pyproject.toml", "requirements.lock", "bootstrap.lock"),
        *("kalepool", "kernels", "sql", "~/.ray/auth_token"),
    }
    assert all((ROOT / source).exists() for source in sources if not source.startswith("~"))
    worker = "\n".join(config["worker_setup_commands"] + config["worker_start_ray_commands"])
    assert not re.search(r"KALEPOOL_|DATABASE_URL|requirements.lock(?! ray| 'numba)", worker)
    assert "rm -rf ~/kalepool/kalepool/custody.py" in worker
    for commands in (config["head_start_ray_commands"], config["worker_start_ray_commands"]):
        stop, folder, start = commands
        assert stop.endswith("ray stop") and start.startswith("RAY_AUTH_MODE=token")
        assert folder.partition("#")[0].strip() == "mkdir -p -m 700 ~/.kalepool-ray", "Ray opens its own to everybody"
    assert "--temp-dir=$HOME/.kalepool-ray/r " in config["head_start_ray_commands"][-1]


def test_a_cluster_started_by_hand_has_the_settings_of_a_local_ray(config: dict[str, Any]) -> None:
    by_hand = (ROOT / "docs" / "operating.md").read_text()
    for commands in ("".join(config["head_start_ray_commands"]).replace("~/kalepool/kalepool", "kalepool"), by_hand):
        given = re.search(r'--system-config="\$\(cat (.*?)\)"', commands)
        assert given and json.loads((ROOT / given[1]).read_text()) == SYSTEM_CONFIG
