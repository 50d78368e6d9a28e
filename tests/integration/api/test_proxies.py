"""The examples of deploy/ under the real nginx and the real Caddy, where this machine has them."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.integration.api.test_connections import require_limit, serving, until
from tests.support.ports import free_port

pytestmark = pytest.mark.anyio

DEPLOY = Path(__file__).parents[3] / "deploy"


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def substituted(name: str, **changed: str) -> str:
    """An example with what is another one's there, and nothing else."""
    text = (DEPLOY / name).read_text()
    for old, new in changed.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


@contextmanager
def proxy(program: str, folder: Path, api_port: int) -> Iterator[int]:
    """Runs it with its example, for pool.example with a certificate of its own. Gives the port for HTTPS."""
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin")
    if found is None or shutil.which("openssl") is None:
        pytest.skip(f"no {program} here, or no openssl")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=pool.example "
        f"-addext subjectAltName=DNS:pool.example -keyout {key} -out {certificate}".split(),
        check=True,
        capture_output=True,
    )
    port, plain = free_port(), free_port()
    if program == "nginx":
        site = substituted(
            "nginx.conf",
            **{
                "listen 80;": f"listen 127.0.0.1:{plain};",
                "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
                "/etc/letsencrypt/live/pool.example/fullchain.pem": str(certificate),
                "/etc/letsencrypt/live/pool.example/privkey.pem": str(key),
                "127.0.0.1:8737": f"127.0.0.1:{api_port}",
            },
        )
        temporary = "".join(
            f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        user = "user root;" if os.geteuid() == 0 else ""  # its workers write into this folder
        whole = f"{user} daemon off; pid {folder}/pid; events {{}} http {{ access_log off; {temporary}\n{site}\n}}"
        (folder / "nginx.conf").write_text(whole)
        command = [found, "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")]
    else:
        site = substituted(
            "Caddyfile",
            **{
                "pool.example {": f"https://pool.example:{port} {{\n\ttls {certificate} {key}",
                "{\n\tservers {": f"{{\n\tadmin off\n\thttp_port {plain}\n\tservers {{",
                "127.0.0.1:8737": f"127.0.0.1:{api_port}",
            },
        )
        (folder / "Caddyfile").write_text(site)
        command = [found, "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]
    environment = os.environ | {"XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "HOME": str(folder)}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        for _ in range(200):
            if listens(port):
                break
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.05)
                raise AssertionError((folder / "log").read_text())
        yield port
    finally:
        process.terminate()
        process.wait(60)


@pytest.mark.parametrize("program", ["nginx", "caddy"])
async def test_the_example_works(program: str, farm, tmp_path: Path) -> None:
    public = {"public_url": "https://pool.example", "trusted_proxies": "127.0.0.1"}
    async with serving(farm.settings, **public) as served:
        with proxy(program, tmp_path, served.port) as port:
            trusted = ssl.create_default_context(cafile=tmp_path / "certificate.pem")

            def client(address: str) -> httpx2.AsyncClient:
                transport = httpx2.AsyncHTTPTransport(local_address=address, verify=trusted)
                named = {"Host": "pool.example"}
                return httpx2.AsyncClient(
                    transport=transport, base_url=f"https://127.0.0.1:{port}", headers=named, timeout=30
                )

            async def ask(one: httpx2.AsyncClient, method: str, path: str, **more: Any) -> httpx2.Response:
                return await one.request(method, path, extensions={"sni_hostname": "pool.example"}, **more)

            async with client("127.0.0.2") as forger, client("127.0.0.3") as other:
                await require_limit(
                    lambda n: ask(forger, "GET", "/info", headers={"X-Forwarded-For": f"198.51.100.{n % 250}"})
                )
                assert (await ask(other, "GET", "/info")).status_code == 200
                for headers in ({}, {"X-Forwarded-For": "127.0.0.1"}):
                    assert (await ask(other, "GET", "/metrics", headers=headers)).status_code == 401
                assert (await ask(other, "POST", "/miner/register", content=bytes(20_000))).status_code == 413
                # a stream comes at once, and its end is noticed
                async with other.stream("GET", "/events", extensions={"sni_hostname": "pool.example"}) as answer:
                    lines = answer.aiter_lines()
                    assert (await anext(lines)).startswith("data: {")
                    assert served.app.state.viewing.viewers == 1
            await until(lambda: not served.app.state.viewing.viewers)
