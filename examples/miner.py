"""A complete kalepool miner. Needs pycryptodome and requests; Ctrl-C ends it. With your miner's key:

KALEPOOL_API_KEY=kp_… python examples/miner.py http://127.0.0.1:8737"""

from __future__ import annotations

import base64
import os
import signal
import sys
import threading
import time

import requests
from Crypto.Hash import keccak

if len(sys.argv) != 2 or not sys.argv[1].startswith(("http://", "https://")) or not os.environ.get("KALEPOOL_API_KEY"):
    sys.exit(__doc__)
signal.signal(signal.SIGINT, lambda *_: os._exit(130))  # an exception may come where it is swallowed
pool = sys.argv[1].rstrip("/")
headers = {"Authorization": f"Bearer {os.environ['KALEPOOL_API_KEY']}"}
job: dict = {}


def follow() -> None:
    """Keep `job` the pool's newest: the request waits until there is another one than `after`."""
    global job
    while True:
        params = {"rig": f"example-{os.getpid() % 8}", "wait": 30, "after": job.get("job_id", "")}
        try:
            answer = requests.get(f"{pool}/miner/job", params=params, headers=headers, timeout=40)
            if answer.status_code == 200:
                job = answer.json()
            elif answer.status_code != 204:  # 204: nothing new
                print(answer.status_code, answer.text)
                time.sleep(float(answer.headers.get("Retry-After", 5)))
        except requests.RequestException as error:
            print(f"no pool at {pool}: {type(error).__name__}; trying again", file=sys.stderr)
            time.sleep(5)


def bring(share: dict) -> None:
    """A share without an answer, or that has to wait, is sent again: the pool counts it once."""
    while True:
        try:
            answer = requests.post(f"{pool}/miner/shares", json=share, headers=headers, timeout=15)
            if answer.status_code not in (429, 503):
                return print(answer.text)
            time.sleep(float(answer.headers.get("Retry-After", 5)))
        except requests.RequestException:
            time.sleep(1)


threading.Thread(target=follow, daemon=True).start()
while not job:
    time.sleep(0.1)
while True:
    now, target = job, bytes.fromhex(job["target"])
    head, entropy = now["block_index"].to_bytes(4, "big"), bytes.fromhex(now["entropy"])
    tail = entropy + base64.b32decode(now["farmer"])[1:33]
    start = int(now["nonce_start"]) + int.from_bytes(os.urandom(8)) % (int(now["nonce_count"]) - 20_000)
    for nonce in range(start, start + 20_000):
        if keccak.new(digest_bits=256, data=head + nonce.to_bytes(8, "big") + tail).digest() < target:
            bring({"job_id": now["job_id"], "nonce": str(nonce)})
