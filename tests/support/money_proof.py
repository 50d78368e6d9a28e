"""What miners must have received, from the network's transactions and the public share logs alone. Imports nothing of
kalepool: what is promised is written here a second time.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import httpx2
from stellar_sdk import Account, Asset, Keypair, StrKey, TransactionBuilder, scval
from stellar_sdk import xdr as stellar_xdr

FEE_PERCENT = 5
WINDOW = 12
FAR = 200


class Ledgers:
    """A network's transactions, as far as they were read. http: a client of its RPC server."""

    def __init__(self, http: httpx2.Client, passphrase: str) -> None:
        self._http = http
        self._passphrase = passphrase
        self._cursor: str | None = None
        self.rewards: dict[int, list[int]] = defaultdict(list)
        """What each harvest brought, by block."""
        self.received: dict[str, int] = defaultdict(int)
        """KALE that came to each account by payments, in stroops."""

    def ask(self, method: str, **params: Any) -> Any:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = self._http.post("", json=body).json()
        assert "result" in answer, answer
        return answer["result"]

    def read(self, kale: Asset) -> None:
        """All transactions since the last time."""
        while True:
            limits: dict[str, Any] = {
                "pagination": {"limit": FAR, **({"cursor": self._cursor} if self._cursor else {})}
            }
            if self._cursor is None:
                limits["startLedger"] = self.ask("getHealth")["oldestLedger"]
            found = self.ask("getTransactions", **limits)
            for each in found["transactions"]:
                if each["status"] == "SUCCESS":
                    self._take(each, kale)
            self._cursor = found["cursor"]
            if len(found["transactions"]) < FAR:
                return

    def _take(self, row: dict[str, Any], kale: Asset) -> None:
        for operation in _operations(row["envelopeXdr"]):
            if operation.payment_op and Asset.from_xdr_object(operation.payment_op.asset) == kale:
                key = operation.payment_op.destination.ed25519
                if key is not None:
                    account = StrKey.encode_ed25519_public_key(key.uint256)
                    self.received[account] += operation.payment_op.amount.int64
            invoked = operation.invoke_host_function_op
            call = invoked.host_function.invoke_contract if invoked else None
            if call is not None and call.function_name.sc_symbol == b"harvest":
                self._harvest(call, row["resultMetaXdr"])

    def _harvest(self, call: Any, meta: str) -> None:
        """harvest(farmer, index) gives a reward; the tractor's harvest(farmer, indexes) one of each, 0 for none."""
        brought: Any = scval.to_native(_returned(meta))
        indexes: Any = scval.to_native(call.args[1])
        pairs = zip(indexes, brought, strict=True) if isinstance(indexes, list) else [(indexes, brought)]
        for index, reward in pairs:
            self.rewards[index].append(reward)

    def balance(self, account: str, kale: Asset) -> int:
        """What the ledger says the account has of KALE."""
        key = stellar_xdr.LedgerKey(
            stellar_xdr.LedgerEntryType.TRUSTLINE,
            trust_line=stellar_xdr.LedgerKeyTrustLine(
                Keypair.from_public_key(account).xdr_account_id(), kale.to_trust_line_asset_xdr_object()
            ),
        )
        [entry] = self.ask("getLedgerEntries", keys=[key.to_xdr()])["entries"]
        line: Any = stellar_xdr.LedgerEntryData.from_xdr(entry["xdr"]).trust_line
        return line.balance.int64

    def make_payee(self, friendbot_url: str, kale: Asset) -> Keypair:
        """An account with a KALE trustline."""
        made = Keypair.random()
        assert httpx2.get(friendbot_url, params={"addr": made.public_key}, timeout=60).is_success
        key = stellar_xdr.LedgerKey(
            stellar_xdr.LedgerEntryType.ACCOUNT, account=stellar_xdr.LedgerKeyAccount(made.xdr_account_id())
        )
        while not (found := self.ask("getLedgerEntries", keys=[key.to_xdr()])["entries"]):
            time.sleep(0.2)
        entry: Any = stellar_xdr.LedgerEntryData.from_xdr(found[0]["xdr"]).account
        source = Account(made.public_key, entry.seq_num.sequence_number.int64)
        built = TransactionBuilder(source, self._passphrase, 1000).append_change_trust_op(kale).set_timeout(300).build()
        built.sign(made)
        sent = self.ask("sendTransaction", transaction=built.to_xdr())
        while self.ask("getTransaction", hash=sent["hash"])["status"] == "NOT_FOUND":
            time.sleep(0.2)
        assert self.balance(made.public_key, kale) == 0
        return made


def _operations(envelope_xdr: str) -> Iterator[Any]:
    envelope = stellar_xdr.TransactionEnvelope.from_xdr(envelope_xdr)
    inner = envelope.fee_bump.tx.inner_tx.v1 if envelope.fee_bump else envelope.v1
    if inner is not None:
        for operation in inner.tx.operations:
            yield operation.body


def _returned(meta_xdr: str) -> Any:
    meta: Any = stellar_xdr.TransactionMeta.from_xdr(meta_xdr)
    return (meta.v4 or meta.v3).soroban_meta.return_value


# ----------------------------------------------------------------------------------------------------------------------


class Logs:
    """Share logs, as the pool shows them to everybody. http: a client of its API."""

    def __init__(self, http: httpx2.Client) -> None:
        self._http = http
        self._known: dict[int, dict[str, int]] = {}

    def hashes(self, index: int) -> dict[str, int] | None:
        """What each miner, and the house, hashed in a block; None where there is no log yet."""
        if index not in self._known:
            answer = self._http.get(f"/miner/blocks/{index}/shares")
            if answer.status_code == 404:
                return None
            assert answer.is_success, answer.text
            head, *shares = [json.loads(line) for line in answer.text.splitlines()]
            assert head["block_index"] == index
            found: dict[str, int] = defaultdict(int)
            found["house"] = int(head["house_hashes"])
            for share in shares:
                found[share["miner"]] += int(share["difficulty"])
            self._known[index] = dict(found)
        return self._known[index]


def credits(ledgers: Ledgers, logs: Logs) -> Iterator[tuple[int, dict[str, int]]]:
    """(block, what each miner and the house earn with it), block by block, as far as there are logs."""
    if not ledgers.rewards:
        return
    first = min(ledgers.rewards)
    for index in range(first, max(ledgers.rewards) + 1):
        window: dict[str, int] = defaultdict(int)
        for block in range(max(index - WINDOW + 1, first), index + 1):
            hashes = logs.hashes(block)
            if hashes is None:
                return
            for miner, count in hashes.items():
                window[miner] += count
        fees = sum(reward * FEE_PERCENT // 100 for reward in ledgers.rewards[index])
        yield index, shared(fees, window)


def shared(amount: int, hashes: dict[str, int]) -> dict[str, int]:
    """By largest remainders; of equal ones the lower name comes first."""
    total = sum(hashes.values())
    if not total:
        return {}
    exact = {miner: divmod(amount * count, total) for miner, count in hashes.items()}
    left = amount - sum(whole for whole, _ in exact.values())
    lucky = sorted(exact, key=lambda miner: (-exact[miner][1], miner))[:left]
    return {miner: whole + (miner in lucky) for miner, (whole, _) in exact.items()}


def paid_through(ledgers: Ledgers, logs: Logs, accounts: dict[str, str], kale: Asset) -> int | None:
    """The block through which every miner has received just what it earned; None where that is none. accounts: by
    miner."""
    ledgers.read(kale)
    earned = dict.fromkeys(accounts, 0)
    through = None
    for index, each in credits(ledgers, logs):
        for miner in earned:
            earned[miner] += each.get(miner, 0)
        if all(0 < earned[miner] == ledgers.received[account] for miner, account in accounts.items()):
            through = index
    if through is not None and any(
        ledgers.balance(account, kale) != ledgers.received[account] for account in accounts.values()
    ):
        return None  # a payment has come since
    return through
