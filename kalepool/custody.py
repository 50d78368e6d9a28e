"""Secret keys: made here, sealed at rest, opened only to sign. Used by the API process alone.

A secret is sealed with XChaCha20-Poly1305 under the master key, with its row's id as associated data, so that a sealed
secret copied to another row does not open. The master key is in KALEPOOL_MASTER_KEY or in a 0600 file, never in the
database. Several keys may be there, after a rotation: the first seals and makes new accounts, all open, and all bring
back the accounts that were made under them.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import structlog
from nacl.exceptions import CryptoError
from nacl.secret import Aead
from stellar_sdk import Keypair

from kalepool import derivation
from kalepool.config import Settings
from kalepool.database import Database
from kalepool.errors import ConfigError, CustodyError

log = structlog.get_logger()


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
    _row_id: UUID = field(repr=False)
    _sealed: bytes = field(repr=False)

    def sign(self, data: bytes) -> bytes:
        """The 64-byte ed25519 signature of `data`, usually a transaction's hash."""
        return self._custody._keypair(self._row_id, self.public_key, self._sealed).sign(data)


class Custody:
    """Makes, seals and opens secret keys with the master keys given: the first seals, all open."""

    def __init__(self, *masters: MasterKey, key_file: Path | None = None) -> None:
        self._key_file = key_file
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

    def create_sealed(self, row_id: UUID, path: str, *, address: str | None = None) -> tuple[str, bytes, str]:
        """The account of a path for the row `row_id`: (address, sealed secret, master_key_id), to be stored there.

        The same path under the same master key is the same account: see derivation.py. `address`: one of `addresses`,
        the first where None. Raises CustodyError where no master key that is here makes that one.
        """
        made = (_keypair_of(master, path) for master in self._masters)
        keypair = next((each for each in made if address in (None, each.public_key)), None)
        if keypair is None:
            raise CustodyError(f"no master key that is here makes {address} of {path}")
        sealed, key_id = self._seal(row_id, keypair.raw_secret_key())
        return keypair.public_key, sealed, key_id

    def addresses(self, path: str) -> list[str]:
        """The accounts of a path, one for each master key that is here, the current one's first."""
        return [_keypair_of(master, path).public_key for master in self._masters]

    def signer(self, row_id: UUID, address: str, sealed: bytes) -> CustodySigner:
        """Who signs for `address`. Raises CustodyError at signing when the secret does not open."""
        return CustodySigner(address, self, row_id, bytes(sealed))

    def _keypair(self, row_id: UUID, address: str, sealed: bytes) -> Keypair:
        """Open a sealed secret. Raises CustodyError when no master key opens it, or it is another account's."""
        keypair = Keypair.from_raw_ed25519_seed(self._open(row_id, address, sealed))
        if keypair.public_key != address:
            raise CustodyError(f"the secret stored for {address} is another account's")
        return keypair

    def seal_again(self, row_id: UUID, address: str, sealed: bytes) -> tuple[bytes, str]:
        """The same secret under the current master key: (sealed secret, master_key_id)."""
        return self._seal(row_id, self._keypair(row_id, address, sealed).raw_secret_key())

    # A sealed secret is: 8 bytes naming the master key, then nonce and ciphertext.

    def _seal(self, row_id: UUID, secret: bytes) -> tuple[bytes, str]:
        key_id = self._current.key_id
        return bytes.fromhex(key_id) + self._boxes[key_id].encrypt(secret, aad=row_id.bytes), key_id

    def _open(self, row_id: UUID, address: str, sealed: bytes) -> bytes:
        key_id, ciphertext = sealed[:8].hex(), sealed[8:]
        if key_id not in self._boxes and self._key_file is not None:
            self._use(read_key_file(self._key_file))  # it was rotated while we ran
        box = self._boxes.get(key_id)
        if box is None:
            raise CustodyError(f"the secret of {address} is sealed by master key {key_id}, which is not here")
        try:
            return box.decrypt(ciphertext, aad=row_id.bytes)
        except CryptoError:
            raise CustodyError(
                f"the secret of {address} does not open: its row was tampered with or mixed up"
            ) from None


def _keypair_of(master: MasterKey, path: str) -> Keypair:
    return Keypair.from_raw_ed25519_seed(derivation.seed(master.secret, path))


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
    return Custody(*masters, key_file=path)


async def open_custody(settings: Settings, database: Database) -> Custody:
    """Custody for what this database holds. Raises as load_custody, and DatabaseError."""
    rows = await database.fetch_all("select_master_key_ids")
    return load_custody(settings, [row["master_key_id"] for row in rows])


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
    try:
        status = path.stat()
        if status.st_mode & 0o077:
            raise CustodyError(f"{path} holds the master key and is open to others: chmod 600 {path}")
        lines = path.read_text(errors="replace").split()
    except OSError as error:
        raise CustodyError(f"the master key file cannot be read: {error}") from None
    if not lines:
        raise CustodyError(f"{path} is empty: it should hold the master key")
    return _keys(lines, str(path))


def _keys(texts: Sequence[str], place: str) -> tuple[MasterKey, ...]:
    try:
        return tuple(MasterKey.from_hex(text) for text in texts)
    except CustodyError as error:
        raise CustodyError(f"{place}: {error}") from None


def _write_key_file(path: Path, masters: tuple[MasterKey, ...], *, must_be_new: bool = False) -> None:
    """Whole or not at all: written beside, flushed to disk, then put in place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.writelines(master.secret.hex() + "\n" for master in masters)
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
        await open_custody(settings, database)
        _write_key_file(path, (MasterKey.new(), *read_key_file(path)))
    custody = load_custody(settings)
    async with database.transaction() as session:
        await session.execute("lock_sealed_secrets")
        rows = await session.fetch_all("select_secrets_not_under", master_key_id=custody.master_key_id)
        for row in rows:
            sealed, key_id = custody.seal_again(row["row_id"], row["address"], row["secret_sealed"])
            query = "update_account_secret" if row["kind"] == "accounts" else "update_farmer_secret"
            await session.execute(query, row_id=row["row_id"], secret_sealed=sealed, master_key_id=key_id)
    return len(rows)
