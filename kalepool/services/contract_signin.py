"""Signing in with a contract account (C…), as the Stellar ecosystem does: SEP-45, Stellar Web Authentication for
Contract Accounts.

A challenge is a call of the web authentication contract as two authorisation entries: the pool's, signed by its sign-in
key, and the wallet's, for its own code to judge. Who gives them back with the wallet's signature gets a token where the
network, asked to simulate the call with just these entries, says that both have authorised it. Nothing is sent.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from hashlib import sha256

from stellar_sdk import Address, Keypair, StrKey, scval
from stellar_sdk import xdr as stellar_xdr
from stellar_sdk.auth import authorization_payload_hash, build_authorization_preimage
from stellar_sdk.sep.stellar_soroban_web_authentication import (
    ChallengeAuthorizationEntries,
    read_challenge_authorization_entries,
)

from kalepool.chain import building
from kalepool.errors import InputError, NotFoundError
from kalepool.services.context import Context
from kalepool.services.signin import CHALLENGE_SECONDS, ChallengeError, SignIn, Token

Entry = stellar_xdr.SorobanAuthorizationEntry


@dataclass(frozen=True, slots=True)
class ContractSignIn:
    """Issues challenges and takes them back. `contract_id` is WEB_AUTH_CONTRACT_ID in stellar.toml."""

    sign_in: SignIn
    contract_id: str

    @classmethod
    def of(cls, ctx: Context, sign_in: SignIn) -> ContractSignIn:
        """NotFoundError where the network has no such contract that is known."""
        contract = ctx.settings.chain.web_auth_id
        if contract is None:
            raise NotFoundError("contract accounts cannot sign in on this network: KALEPOOL_WEB_AUTH_ID is not set")
        return cls(sign_in, contract)

    async def challenge(self, ctx: Context, account: str) -> str:
        """SorobanAuthorizationEntries as base64 XDR, for the contract account to sign its own of.

        The network has to have an account of the sign-in key to hear it: the pool makes that with the first challenge.
        Raises InputError for what is no contract or is not there, NotReadyError, and as carry.
        """
        if not StrKey.is_valid_contract(account):
            raise InputError(f"not a contract (C…) address: {account[:60]!r}")
        if not await ctx.lookups.is_there(account):
            raise InputError(f"{account} is not on the ledger: its contract has to be deployed first")
        await ctx.accounts.ensure_account(self.sign_in.signer.public_key)
        ledgers = int(CHALLENGE_SECONDS / ctx.chain.network.ledger_seconds)
        until = (await ctx.chain.read_ledger()).sequence + ledgers
        arguments = {
            "account": account,
            "home_domain": self.sign_in.home_domain,
            "nonce": secrets.token_urlsafe(32),
            "web_auth_domain": self.sign_in.web_auth_domain,
            "web_auth_domain_account": self.sign_in.signer.public_key,
        }
        call = building.web_auth_call(self.contract_id, arguments)
        ours = _entry(call, self.sign_in.signer.public_key, until)
        digest = _signed_hash(ours, until, ctx.settings.chain.passphrase)
        _credentials(ours).signature = _signature(self.sign_in, digest)
        theirs = _entry(call, account, 0)
        return stellar_xdr.SorobanAuthorizationEntries([ours, theirs]).to_xdr()

    async def answer(self, ctx: Context, entries: str, *, seconds: int | None = None) -> Token:
        """The token for a signed challenge: once for each. `seconds`: how long it is good, by default as is set.

        Raises ChallengeError, ChallengeUsedError, RpcUnavailableError.
        """
        read = self._read(entries)
        found = read.authorization_entries.soroban_authorization_entries
        await self._require_ours(ctx, read.server_account_id, found)
        function = found[0].root_invocation.function.contract_fn
        assert function is not None  # it was read
        call = building.Call(self.contract_id, "web_auth_verify", "web_auth_verify", tuple(function.args))
        if refusal := await ctx.chain.refusal(call, found):
            raise ChallengeError(f"the contract account has not authorised this: {refusal}")
        challenge = sha256(found[0].root_invocation.to_xdr_bytes()).digest()
        return await self.sign_in.issue(ctx, read.client_account_id, challenge, seconds)

    def _read(self, entries: str) -> ChallengeAuthorizationEntries:
        """A challenge with our domains and key in it, of two entries. Raises ChallengeError."""
        try:
            read = read_challenge_authorization_entries(
                entries,
                self.sign_in.signer.public_key,
                self.sign_in.home_domain,
                self.sign_in.web_auth_domain,
                self.contract_id,
            )
            if not StrKey.is_valid_contract(read.client_account_id):
                raise ValueError("only a contract account (C…) signs in so")
            if len(read.authorization_entries.soroban_authorization_entries) != 2:
                raise ValueError("it has other entries than the challenge had")
        except Exception as error:  # the SDK raises whatever its decoders do
            text = str(error).strip()
            reason = text if text.isascii() and text.isprintable() and 0 < len(text) <= 300 else "it cannot be read"
            raise ChallengeError(f"this is no valid challenge: {reason}") from None
        return read

    async def _require_ours(self, ctx: Context, server: str, entries: list[Entry]) -> None:
        """That we have made the challenge, for this network, and not too long ago: by our signature. Asks nobody for
        what is none of ours. Raises ChallengeError."""
        [ours] = [each for each in entries if _address(each) == server]
        credentials = _credentials(ours)
        until = credentials.signature_expiration_ledger.uint32
        try:
            fields = scval.from_map(scval.from_vec(credentials.signature)[0])
            signature = scval.from_bytes(fields[scval.to_symbol("signature")])
            digest = _signed_hash(ours, until, ctx.settings.chain.passphrase)
            Keypair.from_public_key(server).verify(digest, signature)
        except Exception:  # whatever is in place of a signature
            raise ChallengeError("this challenge is not signed by this pool, for this network") from None
        if (await ctx.chain.read_ledger()).sequence > until:
            raise ChallengeError("this challenge is too old: ask for another")


def _entry(call: building.Call, address: str, until: int) -> Entry:
    """One that is not signed yet."""
    function = stellar_xdr.SorobanAuthorizedFunction(
        stellar_xdr.SorobanAuthorizedFunctionType.SOROBAN_AUTHORIZED_FUNCTION_TYPE_CONTRACT_FN,
        contract_fn=stellar_xdr.InvokeContractArgs(
            Address(call.contract_id).to_xdr_sc_address(),
            stellar_xdr.SCSymbol(call.method.encode()),
            list(call.arguments),
        ),
    )
    credentials = stellar_xdr.SorobanAddressCredentials(
        Address(address).to_xdr_sc_address(),
        stellar_xdr.Int64(secrets.randbelow(2**63)),
        stellar_xdr.Uint32(until),
        scval.to_void(),
    )
    kind = stellar_xdr.SorobanCredentialsType.SOROBAN_CREDENTIALS_ADDRESS
    return Entry(
        stellar_xdr.SorobanCredentials(kind, address=credentials),
        stellar_xdr.SorobanAuthorizedInvocation(function, []),
    )


def _credentials(entry: Entry) -> stellar_xdr.SorobanAddressCredentials:
    found = entry.credentials.address or entry.credentials.address_v2
    assert found is not None  # of another kind none is read
    return found


def _address(entry: Entry) -> str:
    return Address.from_xdr_sc_address(_credentials(entry).address).address


def _signed_hash(entry: Entry, until: int, passphrase: str) -> bytes:
    return authorization_payload_hash(build_authorization_preimage(entry, until, passphrase))


def _signature(sign_in: SignIn, digest: bytes) -> stellar_xdr.SCVal:
    """As the network reads an account's: a vec of maps, one for each key."""
    key = Keypair.from_public_key(sign_in.signer.public_key).raw_public_key()
    fields = {
        scval.to_symbol("public_key"): scval.to_bytes(key),
        scval.to_symbol("signature"): scval.to_bytes(sign_in.signer.sign(digest)),
    }
    return scval.to_vec([scval.to_map(fields)])
