"""Custody: secrets open only for their own row, under the right key, and never show."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr
from stellar_sdk import Keypair

from kalepool.config import Settings
from kalepool.custody import Binding, Custody, MasterKey, Purpose, key_file_path, load_custody
from kalepool.derivation import account_path, farmer_path
from kalepool.errors import CustodyError


def settings(folder: Path, **options: object) -> Settings:
    return Settings.load(data_dir=folder, **options)


numbers = count(1)


def new(custody: Custody, row: UUID) -> tuple[Binding, bytes, str]:
    path = farmer_path(next(numbers))
    address, sealed, key_id = custody.create_sealed(row, Purpose.FARMER, path, payout_wallet="GHOME")
    return Binding(row, Purpose.FARMER, address, payout_wallet="GHOME"), sealed, key_id


def test_a_sealed_secret_signs_for_its_address() -> None:
    custody, row = Custody(MasterKey.new()), uuid4()
    binding, sealed, key_id = new(custody, row)
    signer, address = custody.signer(binding, sealed), binding.address
    assert signer.public_key == address and key_id == custody.master_key_id
    Keypair.from_public_key(address).verify(b"digest", signer.sign(b"digest"))


def test_each_account_has_a_secret_of_its_own_and_no_two_seals_look_alike() -> None:
    custody, row = Custody(MasterKey.new()), uuid4()
    made = [new(custody, row) for _ in range(20)]
    assert len({binding.address for binding, _, _ in made}) == len({sealed for _, sealed, _ in made}) == 20
    binding, sealed, _ = made[0]
    assert custody.seal_again(binding, sealed)[0] != sealed


def test_a_secret_moved_to_another_row_changed_or_under_another_key_does_not_open() -> None:
    custody, row = Custody(MasterKey.new()), uuid4()
    binding, sealed, _ = new(custody, row)
    stranger, strangers_secret, _ = new(custody, row)
    wrong = [
        custody.signer(replace(binding, row_id=uuid4()), sealed),
        custody.signer(replace(binding, payout_wallet="GTHIEF"), sealed),
        custody.signer(replace(binding, purpose=Purpose.CHANNEL), sealed),
        custody.signer(replace(binding, name="pool"), sealed),
        custody.signer(stranger, sealed),
        custody.signer(binding, strangers_secret),
        custody.signer(binding, sealed[:-1] + bytes([sealed[-1] ^ 1])),
        custody.signer(binding, sealed[:5]),
        Custody(MasterKey.new()).signer(binding, sealed),
    ]
    for signer in wrong:
        for use in (lambda signer=signer: signer.sign(b"digest"), signer.check):
            with pytest.raises(CustodyError):
                use()
    assert custody.signer(binding, sealed).check() is None


def test_no_two_bindings_have_the_same_associated_data() -> None:
    row = uuid4()
    bindings = [
        Binding(row, Purpose.FARMER, "GA", payout_wallet="GB"),
        Binding(row, Purpose.FARMER, "GA", "GB"),
        Binding(row, Purpose.FARMER, "GA"),
        Binding(row, Purpose.FARMER, "GA", payout_wallet=""),
        Binding(row, Purpose.FARMER, 'GA", "payout": "GB'),
    ]
    assert len({binding.associated_data() for binding in bindings}) == len(bindings)


def test_nothing_shows_a_secret() -> None:
    master, row = MasterKey.new(), uuid4()
    custody = Custody(master)
    binding, sealed, _ = new(custody, row)
    signer = custody.signer(binding, sealed)
    seed = custody._keypair(binding, sealed).secret
    shown = " ".join([repr(master), repr(custody), repr(signer), str(signer), f"{vars(custody)}"])
    assert master.secret.hex() not in shown and repr(master.secret) not in shown and seed not in shown
    assert bytes(Keypair.from_secret(seed).raw_secret_key()) not in sealed


def test_the_key_file_is_made_once_closed_to_others_and_read_again(tmp_path: Path) -> None:
    first = load_custody(settings(tmp_path))
    path = key_file_path(settings(tmp_path))
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_custody(settings(tmp_path)).master_key_id == first.master_key_id
    path.chmod(0o640)
    with pytest.raises(CustodyError, match="chmod 600"):
        load_custody(settings(tmp_path))


def test_a_malformed_key_is_refused_without_being_shown(tmp_path: Path) -> None:
    for text in ("", "abc", "zz" * 32, "ab" * 31, "ab" * 33):
        with pytest.raises(CustodyError) as caught:
            load_custody(settings(tmp_path, master_key=SecretStr(text)))
        assert str(caught.value).startswith("KALEPOOL_MASTER_KEY: ") and (not text or text not in str(caught.value))
    file = key_file_path(settings(tmp_path))
    file.touch(mode=0o600)
    with pytest.raises(CustodyError, match="empty"):
        load_custody(settings(tmp_path))
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(CustodyError, match=f"{file}: a master key is 64 hexadecimal digits"):
        load_custody(settings(tmp_path))


def test_the_environments_first_key_seals_and_all_open(tmp_path: Path) -> None:
    old, young = MasterKey.new(), MasterKey.new()
    binding, sealed, _ = new(Custody(old), uuid4())
    both = load_custody(settings(tmp_path, master_key=SecretStr(f"{young.secret.hex()},{old.secret.hex()}")))
    assert both.master_key_id == young.key_id
    again, key_id = both.seal_again(binding, sealed)
    assert key_id == young.key_id
    assert Custody(young).signer(binding, again).sign(b"x") == Custody(old).signer(binding, sealed).sign(b"x")


def test_the_master_key_alone_brings_a_wallet_back() -> None:
    """No database, no sealed secret: key and number are enough, and other keys and numbers are other wallets."""
    master, other = MasterKey.new(), MasterKey.new()
    address, _, _ = Custody(master).create_sealed(uuid4(), Purpose.FARMER, farmer_path(7), payout_wallet="GHOME")
    later = Custody(other, master)  # the key was rotated since
    row = uuid4()
    assert later.addresses(farmer_path(7))[1] == address
    again, sealed, key_id = later.create_sealed(
        row, Purpose.FARMER, farmer_path(7), payout_wallet="GHOME", address=address
    )
    assert (again, key_id) == (address, other.key_id)
    binding = Binding(row, Purpose.FARMER, address, payout_wallet="GHOME")
    Keypair.from_public_key(address).verify(b"x", later.signer(binding, sealed).sign(b"x"))
    paths = [farmer_path(number) for number in range(50)] + [account_path("pool"), account_path("7")]
    assert len({each for path in paths for each in later.addresses(path)}) == 2 * len(paths)
    with pytest.raises(CustodyError, match="no master key"):
        Custody(other).create_sealed(row, Purpose.FARMER, farmer_path(7), address=address)


def test_the_derivation_never_changes() -> None:
    """Wallets of years ago hang on these very bytes."""
    master = MasterKey(bytes(range(32)))
    assert Custody(master).addresses(farmer_path(1)) == ["GA3SKHVLZO7K3LR3IGBHAGKRFIYL6LHDVKNRFE62GUHLMXVSNL4QFCVT"]
