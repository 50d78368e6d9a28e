"""Secret keys: made here, sealed at rest, opened only to sign. Used by the API process alone.

A secret is sealed with XChaCha20-Poly1305 under the master key, with what it may be used for as associated data: its
row, purpose, address, and the wallet and memo that its money goes to. Where one of them was changed in the database,
or the secret was copied to another row, it does not open. The master key is in KALEPOOL_MASTER_KEY or in a 0600 file,
never in the database. Several keys may be there, after a rotation: the first seals and makes new accounts, all open,
and all bring back the accounts that were made under them.

A miner has no secret here, and yet its payout wallet is sealed in the same way, with nothing inside: where its row was
changed past the API the seal does not fit, and it is not paid.

Earlier versions bound a secret to its row alone. Such seals are made anew once, as the rows are then. Afterwards they
open no more, else an old one could be put back beside another payout wallet: the key file remembers it by its first
word, BOUND, and by MINERS that miners were sealed. It stands outside the database, whose writer cannot take it away.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Self
from uuid import UUID

import structlog
from nacl.exceptions import CryptoError
from nacl.secret import Aead
from stellar_sdk import Keypair

from kalepool import derivation
from kalepool.config import Settings
from kalepool.database import Database, Session
from kalepool.errors import ConfigError, ConflictError, CustodyError, NotFoundError

log = structlog.get_logger()

BOUND = "bound"
"""First word of a key file whose keys open no secret that is bound to its row alone."""

MINERS = "miners"
"""Word of a key file under which every miner's payout wallet was sealed: one without a seal was changed since."""

MARKS = (BOUND, MINERS)


class Purpose(StrEnum):
    """What an account is for."""

    FARMER = "farmer"
    POOL = "pool"
    CHANNEL = "channel"
    TREASURY = "treasury"
    SIGN_IN = "sign-in"
    MINER = "miner"
    WEBHOOK = "webhook"


@dataclass(frozen=True, slots=True)
class Binding:
    """What a sealed secret may be used for, by its row. A secret that was sealed for something else does not open.

    name: of one of the pool's own accounts, or a webhook's address. payout_wallet, payout_memo: where a farmer's or
    miner's money goes.
    next_wallet, next_memo, next_at: where a miner's goes from a time on.
    """

    row_id: UUID
    purpose: Purpose
    address: str
    name: str | None = None
    payout_wallet: str | None = None
    payout_memo: str | None = None
    next_wallet: str | None = None
    next_memo: str | None = None
    next_at: datetime | None = None

    @classmethod
    def of_miner(cls, row: Mapping[str, Any]) -> Self:
        """A miner's wallets, as its row has them."""
        return cls(
            row["miner_id"],
            Purpose.MINER,
            row["payout_wallet"] or "",
            payout_wallet=row["payout_wallet"],
            payout_memo=row["payout_memo"],
            next_wallet=row["next_wallet"],
            next_memo=row["next_memo"],
            next_at=row["next_wallet_at"],
        )

    @classmethod
    def of_webhook(cls, webhook_id: UUID, url: str, subject_id: UUID | None) -> Self:
        """A webhook's signing secret. Its address may be a secret, too: no error has it. subject_id: of the farmer or
        miner whose own it is; a row that was given to somebody else is sent nothing of them."""
        whose = f" of {subject_id}" if subject_id else ""
        return cls(webhook_id, Purpose.WEBHOOK, f"webhook {webhook_id}{whose}", name=url)

    @classmethod
    def of_row(cls, row: dict[str, Any]) -> Self:
        parts = (row["address"], row["name"], row["payout_wallet"], row["payout_memo"])
        return cls(row["row_id"], Purpose(row["purpose"]), *parts)

    def associated_data(self) -> bytes:
        """The same bytes for the same binding and for no other. What is None is left out."""
        parts = {
            "row": str(self.row_id),
            "purpose": self.purpose.value,
            "address": self.address,
            "name": self.name,
            "payout": self.payout_wallet,
            "memo": self.payout_memo,
            "next": self.next_wallet,
            "next memo": self.next_memo,
            "next at": self.next_at and self.next_at.astimezone(UTC).isoformat(),
        }
        given = {key: value for key, value in parts.items() if value is not None}
        return b"kalepool seal\0" + json.dumps(given, sort_keys=True).encode()


@dataclass(frozen=True, slots=True)
class MasterKey:
    """32 bytes that seal every secret. `key_id` names it without telling anything about it."""

    secret: bytes = field(repr=False)

    @classmethod
    def from_hex(cls, text: str) -> MasterKey:
        """Raises CustodyError, which does not show the text, unless it is 64 hexadecimal digits."""
        try:
            secret = bytes.fromhex(text.strip())
        except ValueError:
            secret = b""
        if len(secret) != Aead.KEY_SIZE:
            raise CustodyError(f"a master key is 64 hexadecimal digits; this one has {len(text.strip())} characters")
        return cls(secret)

    @classmethod
    def new(cls) -> MasterKey:
        return cls(secrets.token_bytes(Aead.KEY_SIZE))

    @property
    def key_id(self) -> str:
        return hashlib.sha256(b"kalepool master key id" + self.secret).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class CustodySigner:
    """Signs as one account. The secret is opened for each signature and never kept; repr shows the address alone."""

    public_key: str
    _custody: Custody = field(repr=False)
    _binding: Binding = field(repr=False)
    _sealed: bytes = field(repr=False)

    def sign(self, data: bytes) -> bytes:
        """The 64-byte ed25519 signature of `data`, usually a transaction's hash."""
        return self._custody._keypair(self._binding, self._sealed).sign(data)

    def check(self) -> None:
        """CustodyError where it could not sign: before money goes to an address of the same row."""
        self._custody._keypair(self._binding, self._sealed)


class Custody:
    """Makes, seals and opens secret keys with the master keys given: the first seals, all open.

    bound: it is remembered that nothing of earlier versions is left to be bound; until then errors mention it.
    """

    def __init__(self, *masters: MasterKey, key_file: Path | None = None, bound: bool = False) -> None:
        self._key_file = key_file
        self.bound = bound
        self._use(masters)

    def _use(self, masters: tuple[MasterKey, ...]) -> None:
        self._masters = masters
        self._boxes = {master.key_id: Aead(master.secret) for master in masters}

    @property
    def master_key_id(self) -> str:
        """Name of the key that seals new secrets."""
        return self._current.key_id

    @property
    def _current(self) -> MasterKey:
        return self._masters[0]

    def create_sealed(
        self,
        row_id: UUID,
        purpose: Purpose,
        path: str,
        *,
        name: str | None = None,
        payout_wallet: str | None = None,
        payout_memo: str | None = None,
        address: str | None = None,
    ) -> tuple[str, bytes, str]:
        """The account of a path for the row `row_id`: (address, sealed secret, master_key_id), to be stored there.

        The same path under the same master key is the same account: see derivation.py. `address`: one of `addresses`,
        the first where None. Raises CustodyError where no master key that is here makes that one.
        """
        made = (_derived(master, path) for master in self._masters)
        keypair = next((each for each in made if address in (None, each.public_key)), None)
        if keypair is None:
            raise CustodyError(f"no master key that is here makes {address} of {path}")
        binding = Binding(row_id, purpose, keypair.public_key, name, payout_wallet, payout_memo)
        sealed, key_id = self._seal(binding.associated_data(), keypair.raw_secret_key())
        return keypair.public_key, sealed, key_id

    def addresses(self, path: str) -> list[str]:
        """The accounts of a path, one for each master key that is here, the current one's first."""
        return [_derived(master, path).public_key for master in self._masters]

    def signer(self, binding: Binding, sealed: bytes) -> CustodySigner:
        """Who signs for the binding's address. Raises CustodyError at signing when the secret does not open."""
        return CustodySigner(binding.address, self, binding, bytes(sealed))

    def opens(self, binding: Binding, sealed: bytes) -> bool:
        """Whether the secret was sealed for this."""
        try:
            self._keypair(binding, bytes(sealed))
        except CustodyError:
            return False
        return True

    def seal_again(self, binding: Binding, sealed: bytes, **changes: Any) -> tuple[bytes, str]:
        """The same secret under the current master key, for the binding with these changes: (sealed secret,
        master_key_id). CustodyError as at signing."""
        secret = self._keypair(binding, bytes(sealed)).raw_secret_key()
        return self._seal(replace(binding, **changes).associated_data(), secret)

    def seal_secret(self, binding: Binding, secret: bytes) -> bytes:
        """A secret that is no account's key."""
        return self._seal(binding.associated_data(), secret)[0]

    def open_secret(self, binding: Binding, sealed: bytes) -> bytes:
        """What seal_secret sealed for this. Raises CustodyError."""
        return self._open(binding.address, bytes(sealed), binding.associated_data())

    def seal(self, binding: Binding) -> bytes:
        """What shows later that this is as it was written, by who has a master key."""
        return self._seal(binding.associated_data(), b"")[0]

    def is_sealed(self, binding: Binding, seal: bytes | None) -> bool:
        """Whether this is as it was when the seal was made."""
        if seal is None:
            return False
        try:
            return self._open(binding.address, bytes(seal), binding.associated_data()) == b""
        except CustodyError:
            return False

    def bind(self, binding: Binding, sealed: bytes) -> tuple[bytes, str]:
        """What earlier versions sealed, for its row alone, sealed for the binding. CustodyError for anything else."""
        keypair = _keypair_of(binding.address, self._open(binding.address, bytes(sealed), binding.row_id.bytes))
        return self._seal(binding.associated_data(), keypair.raw_secret_key())

    def _keypair(self, binding: Binding, sealed: bytes) -> Keypair:
        """Open a sealed secret. Raises CustodyError when no master key opens it, or it is another account's."""
        return _keypair_of(binding.address, self._open(binding.address, sealed, binding.associated_data()))

    # A sealed secret is: 8 bytes naming the master key, then nonce and ciphertext.

    def _seal(self, associated: bytes, secret: bytes) -> tuple[bytes, str]:
        key_id = self._current.key_id
        return bytes.fromhex(key_id) + self._boxes[key_id].encrypt(secret, aad=associated), key_id

    def _open(self, address: str, sealed: bytes, associated: bytes) -> bytes:
        key_id, ciphertext = sealed[:8].hex(), sealed[8:]
        if key_id not in self._boxes and self._key_file is not None:
            self._use(read_key_file(self._key_file))  # it was rotated while we ran
        box = self._boxes.get(key_id)
        if box is None:
            raise CustodyError(f"the secret of {address} is sealed by master key {key_id}, which is not here")
        try:
            return box.decrypt(ciphertext, aad=associated)
        except CryptoError:
            raise CustodyError(
                f"the secret of {address} does not open: its row in the database was changed (payout wallet, address, "
                "purpose or secret) or mixed up. Nothing is signed for it until the row is as it was"
                + ("" if self.bound else "; right after an upgrade it is `kalepool custody bind` that is missing")
            ) from None


def _derived(master: MasterKey, path: str) -> Keypair:
    return Keypair.from_raw_ed25519_seed(derivation.seed(master.secret, path))


def _keypair_of(address: str, secret: bytes) -> Keypair:
    keypair = Keypair.from_raw_ed25519_seed(secret)
    if keypair.public_key != address:
        raise CustodyError(f"the secret stored for {address} is another account's")
    return keypair


def load_custody(settings: Settings, sealed_under: Collection[str] = ()) -> Custody:
    """Custody with the configured master keys: KALEPOOL_MASTER_KEY (several separated by commas), else the key file,
    which is made on first use. Raises CustodyError when a key is malformed or the file is open to others.

    `sealed_under`: the keys that seal what there is. ConfigError unless one of them is here; no new one is made then.
    """
    if settings.master_key is not None:
        masters = _keys(settings.master_key.get_secret_value().split(","), "KALEPOOL_MASTER_KEY")
        _require_known(masters, sealed_under, "KALEPOOL_MASTER_KEY holds another key: set it to the old one")
        return Custody(*masters)
    path = key_file_path(settings)
    if not path.exists():
        _require_known((), sealed_under, f"put the old master.key at {path}")
        _write_key_file(path, (MasterKey.new(),), must_be_new=True)
        log.info("master_key_made", file=str(path))
    masters = read_key_file(path)
    _require_known(masters, sealed_under, f"put the old master.key at {path}; what is there now is another")
    return Custody(*masters, key_file=path, bound=_is_bound(path))


async def open_custody(settings: Settings, database: Database) -> Custody:
    """Custody for what this database holds. Raises as load_custody, and DatabaseError.

    A key file of an earlier version: its secrets are bound to their payout wallets now, once for all.
    """
    rows = await database.fetch_all("select_master_key_ids")
    custody = load_custody(settings, [row["master_key_id"] for row in rows])
    path = key_file_path(settings)
    if settings.master_key is None and not custody.bound and os.access(path.parent, os.W_OK):
        await _bind_all(custody, database, secrets_too=BOUND not in _words(path))
        _write_key_file(path, read_key_file(path))
        custody = load_custody(settings)
    return custody


async def bind(settings: Settings, database: Database) -> int:
    """Binds what an earlier version sealed, as the rows are now. Returns how many secrets it was.

    For KALEPOOL_MASTER_KEY and a key file that cannot be written, where nothing remembers that it was done: any other
    key file is bound when it is first used, and then never again.
    """
    custody = await open_custody(settings, database)
    return 0 if custody.bound else await _bind_all(custody, database)


async def _bind_all(custody: Custody, database: Database, *, secrets_too: bool = True) -> int:
    """All or none; done again, nothing. What opens neither way stays as it is, and is told of. Miners without a seal
    are sealed."""
    count = 0
    async with database.transaction() as session:
        for row in await session.fetch_all("lock_sealed_miners"):
            if row["payout_seal"] is None:
                await _seal_miner(session, custody, Binding.of_miner(row))
                count += 1
        for row in await _lock_sealed(session) if secrets_too else ():
            binding = Binding.of_row(row)
            if custody.opens(binding, row["secret_sealed"]):
                continue
            try:
                sealed, key_id = custody.bind(binding, row["secret_sealed"])
            except CustodyError as error:
                log.error("secret_not_bound", address=binding.address, reason=str(error))
                continue
            await _store(session, binding, sealed, key_id)
            count += 1
    if count:
        log.warning("secrets_bound", secrets=count, advice="see that farmers' and miners' payout wallets are theirs")
    return count


async def _lock_sealed(session: Session) -> list[dict[str, Any]]:
    """Every row with a secret; nobody else changes one of them within this transaction."""
    return [*await session.fetch_all("lock_sealed_accounts"), *await session.fetch_all("lock_sealed_farmers")]


async def _store(session: Session, binding: Binding, sealed: bytes, key_id: str) -> None:
    query = "update_farmer_secret" if binding.purpose is Purpose.FARMER else "update_account_secret"
    await session.execute(query, row_id=binding.row_id, secret_sealed=sealed, master_key_id=key_id)


async def _seal_miner(session: Session, custody: Custody, binding: Binding) -> None:
    await session.execute("update_miner_seal", miner_id=binding.row_id, payout_seal=custody.seal(binding))


async def change_payout(
    custody: Custody,
    session: Session,
    farmer_id: UUID,
    payout_wallet: str,
    *,
    payout_memo: str | None = None,
    owner_wallet: str | None = None,
) -> str:
    """Has a farmer's money go to another wallet, and its secret sealed for that. Returns the wallet before.
    `owner_wallet`: who signs in for it from now on.

    Raises NotFoundError, ConflictError where the farmer has left, and CustodyError where the row was changed.
    """
    row = await session.fetch_one("lock_sealed_farmer", farmer_id=farmer_id)
    if row is None:
        raise NotFoundError(f"no farmer {farmer_id}")
    if row["status"] == "departed":
        raise ConflictError(f"farmer {farmer_id} has left: there is nothing to pay out")
    sealed, key_id = custody.seal_again(
        Binding.of_row(row), row["secret_sealed"], payout_wallet=payout_wallet, payout_memo=payout_memo
    )
    await session.execute(
        "update_farmer_payout",
        row_id=farmer_id,
        payout_wallet=payout_wallet,
        payout_memo=payout_memo,
        owner_wallet=owner_wallet,
        secret_sealed=sealed,
        master_key_id=key_id,
    )
    return row["payout_wallet"]


async def broken_seals(custody: Custody, database: Database) -> list[Binding]:
    """The rows whose secrets do not open, and miners whose seals do not fit: somebody changed them. Farmers who have
    left are not looked at."""
    rows = await database.fetch_all("select_sealed")
    miners = await database.fetch_all("select_sealed_miners")

    def look() -> list[Binding]:
        pairs = [(Binding.of_row(row), row["secret_sealed"]) for row in rows]
        wallets = [(Binding.of_miner(row), row["payout_seal"]) for row in miners]
        return [
            *(binding for binding, sealed in pairs if not custody.opens(binding, sealed)),
            *(binding for binding, seal in wallets if not custody.is_sealed(binding, seal)),
        ]

    return await asyncio.to_thread(look)


def _require_known(masters: Sequence[MasterKey], sealed_under: Collection[str], remedy: str) -> None:
    if sealed_under and not {master.key_id for master in masters} & set(sealed_under):
        names = ", ".join(sorted(sealed_under))
        raise ConfigError(
            f"the secrets in the database are sealed by master key {names}, which is not here: {remedy}. "
            "Without it no farmer's wallet can be opened"
        )


def key_file_path(settings: Settings) -> Path:
    """Where the master key lives when the environment does not carry it."""
    return settings.master_key_file or settings.data_dir / "master.key"


def read_key_file(path: Path) -> tuple[MasterKey, ...]:
    """The keys of the file, one a line. Raises CustodyError unless the file is ours and closed to everybody else."""
    words = [word for word in _words(path) if word not in MARKS]
    if not words:
        raise CustodyError(f"{path} is empty: it should hold the master key")
    return _keys(words, str(path))


def _is_bound(path: Path) -> bool:
    return set(MARKS) <= set(_words(path))


def _words(path: Path) -> list[str]:
    try:
        if path.stat().st_mode & 0o077:
            raise CustodyError(f"{path} holds the master key and is open to others: chmod 600 {path}")
        return path.read_text(errors="replace").split()
    except OSError as error:
        raise CustodyError(f"the master key file cannot be read: {error}") from None


def _keys(texts: Sequence[str], place: str) -> tuple[MasterKey, ...]:
    try:
        return tuple(MasterKey.from_hex(text) for text in texts)
    except CustodyError as error:
        raise CustodyError(f"{place}: {error}") from None


def _write_key_file(path: Path, masters: tuple[MasterKey, ...], *, must_be_new: bool = False) -> None:
    """Whole or not at all: written beside, flushed to disk, then put in place. From then on no seal of an earlier
    version opens under these keys."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.writelines(f"{word}\n" for word in (*MARKS, *(master.secret.hex() for master in masters)))
            file.flush()
            os.fsync(file.fileno())
        if must_be_new:
            try:
                os.link(beside, path)  # fails where another process was quicker
            except FileExistsError:
                return
        else:
            beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


async def rotate(settings: Settings, database: Database) -> int:
    """Seal every secret under a new master key, all or none. Returns how many were sealed again.

    With a key file: a new key is put in front of the file's first, then every secret is sealed under it. The keys
    before stay in the file: accounts made under them are derived from them. With KALEPOOL_MASTER_KEY=NEW,OLD:
    everything is sealed under NEW, and OLD may then be taken away, into a safe.
    """
    path = key_file_path(settings)
    if settings.master_key is None:
        await open_custody(settings, database)  # which binds what an earlier version sealed
        _write_key_file(path, (MasterKey.new(), *read_key_file(path)))
    custody = load_custody(settings)
    async with database.transaction() as session:
        rows = [row for row in await _lock_sealed(session) if row["master_key_id"] != custody.master_key_id]
        for row in rows:
            binding = Binding.of_row(row)
            await _store(session, binding, *custody.seal_again(binding, row["secret_sealed"]))
        for row in await session.fetch_all("lock_sealed_miners"):
            binding = Binding.of_miner(row)
            if custody.is_sealed(binding, row["payout_seal"]):  # what is not stays as it is
                await _seal_miner(session, custody, binding)
        return len(rows) + await _rotate_webhooks(session, custody)


async def _rotate_webhooks(session: Session, custody: Custody) -> int:
    """Those that do not open stay as they are: nothing is sent there any more."""
    count = 0
    for row in await session.fetch_all("lock_sealed_webhooks"):
        binding = Binding.of_webhook(row["webhook_id"], row["url"], row["subject_id"])
        try:
            secret = custody.open_secret(binding, row["secret_sealed"])
        except CustodyError as error:
            log.error("webhook_not_sealed_again", reason=str(error))
            continue
        sealed = custody.seal_secret(binding, secret)
        await session.execute("update_webhook_secret", webhook_id=row["webhook_id"], secret_sealed=sealed)
        count += 1
    return count
