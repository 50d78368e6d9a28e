"""Runs what a compose file says with podman: its services in their order, each with its command and its limits."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Any

import yaml

from .conftest import Podman

PROJECT = "kalepool-test"
KNOWN = {
    "image", "build", "command", "entrypoint", "environment", "env_file", "volumes", "secrets", "networks",
    "network_mode", "pid", "read_only", "tmpfs", "cap_drop", "security_opt", "shm_size", "restart", "depends_on",
    "healthcheck", "stop_grace_period",
}  # fmt: skip
HEALTHY_SECONDS = 300.0


def read(*files: Path) -> dict[str, Any]:
    """The files as one, later ones over earlier ones, with ${NAME:-default} put in."""
    whole: dict[str, Any] = {}
    for file in files:
        text = re.sub(r"\$\{(\w+):-([^}]*)\}", lambda m: os.environ.get(m[1], m[2]), file.read_text())
        _over(whole, yaml.safe_load(text))
    return whole


def _over(under: dict[str, Any], over: dict[str, Any]) -> None:
    for name, value in over.items():
        if isinstance(value, dict) and isinstance(under.get(name), dict):
            _over(under[name], value)
        else:
            under[name] = value


class Compose:
    """The services of one file. Those of a profile are left out."""

    def __init__(self, podman: Podman, folder: Path, whole: dict[str, Any]) -> None:
        self._podman, self._folder, self._whole = podman, folder, whole
        self.services: dict[str, dict[str, Any]] = {
            name: service for name, service in whole["services"].items() if "profiles" not in service
        }
        for name, service in self.services.items():
            assert not service.keys() - KNOWN, f"{name}: {service.keys() - KNOWN} is not run by this test"

    def up(self) -> None:
        """Starts every service once what it depends on is as it has to be."""
        for name, network in self._whole["networks"].items():
            self._podman("network", "create", *(["--internal"] if network else []), f"{PROJECT}_{name}")
        waiting = dict(self.services)
        while waiting:
            ready = next(
                name for name, service in waiting.items() if not set(service.get("depends_on", {})) & set(waiting)
            )
            for needed, how in waiting.pop(ready).get("depends_on", {}).items():
                self._wait(needed, how["condition"])
            self._podman("run", "-d", "--name", self.container(ready), *self._options(ready))

    def container(self, service: str) -> str:
        return f"{PROJECT}_{service}"

    def execute(self, service: str, *command: str) -> str:
        return self._podman("exec", self.container(service), *command)

    def logs(self) -> str:
        """The end of what each service said."""
        return "\n".join(
            f"--- {name}\n{self._podman('logs', '--tail=15', self.container(name), check=False, errors=True)}"
            for name in self.services
        )

    def _wait(self, name: str, condition: str) -> None:
        give_up_at = time.monotonic() + HEALTHY_SECONDS
        while not self._is(name, condition):
            assert time.monotonic() < give_up_at, f"{name} is not {condition}\n{self.logs()}"
            time.sleep(0.5)

    def _is(self, name: str, condition: str) -> bool:
        state = self._podman("inspect", "--format={{.State.Status}} {{.State.ExitCode}}", self.container(name))
        if condition == "service_completed_successfully":
            return state == "exited 0"
        if condition == "service_healthy":
            test = self.services[name]["healthcheck"]["test"]
            assert test[0] == "CMD"
            return self._healthy(name, test[1:])
        return state.startswith("running")

    def _healthy(self, name: str, command: list[str]) -> bool:
        try:
            self.execute(name, *command)
        except AssertionError:
            return False
        return True

    def _options(self, name: str) -> list[str]:
        service = self.services[name]
        options = [*self._places(service), *self._limits(service)]
        for file in [service["env_file"]] if isinstance(service.get("env_file"), str) else []:
            options.append(f"--env-file={self._folder / file}")
        options += [f"--env={key}={value}" for key, value in service.get("environment", {}).items()]
        rest: list[str] = list(service.get("entrypoint", []))
        if rest:
            options.append(f"--entrypoint={rest.pop(0)}")
        options += ["--restart=" + service.get("restart", "no")]
        return [*options, service["image"], *rest, *service.get("command", [])]

    def _places(self, service: dict[str, Any]) -> list[str]:
        options: list[str] = []
        mode = service.get("network_mode", "")
        if mode:
            options.append(f"--network=container:{self.container(mode.removeprefix('service:'))}")
        if "pid" in service:
            options.append(f"--pid=container:{self.container(service['pid'].removeprefix('service:'))}")
        own = next(name for name, other in self.services.items() if other is service)
        networks = service.get("networks", {})
        for network in networks:
            how = (networks[network] if isinstance(networks, dict) else None) or {}
            aliases = ",".join(f"alias={alias}" for alias in [own, *how.get("aliases", [])])
            options.append(f"--network={PROJECT}_{network}:{aliases}")
        if not mode:
            options.append(f"--hostname={own}")
        for volume in service.get("volumes", []):
            source, _, target = volume.rpartition(":")
            if source.startswith((".", "/")):
                options.append(f"--volume={(self._folder / source).resolve()}:{target}")
            else:
                options.append(f"--volume={PROJECT}_{source}:{target}" if source else f"--volume={target}")
        for secret in service.get("secrets", []):
            known = secret if isinstance(secret, str) else secret["source"]
            target = f"/run/secrets/{known}" if isinstance(secret, str) else secret["target"]
            options.append(f"--volume={self._folder / self._whole['secrets'][known]['file']}:{target}:ro")
        return options

    @staticmethod
    def _limits(service: dict[str, Any]) -> list[str]:
        options = ["--read-only"] if service.get("read_only") else []
        options += [f"--tmpfs={service['tmpfs']}"] if "tmpfs" in service else []
        options += [f"--cap-drop={capability.lower()}" for capability in service.get("cap_drop", [])]
        options += [f"--security-opt={option.replace(':true', '')}" for option in service.get("security_opt", [])]
        return options + ([f"--shm-size={service['shm_size']}"] if "shm_size" in service else [])
