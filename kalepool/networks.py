"""The Stellar networks KALE lives on, with every id the pool needs. config.py can override each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Network:
    """One Stellar network and KALE's place on it. All ids are strkeys."""

    name: str
    passphrase: str
    rpc_url: str | None  # one or several, see rpc_urls. None: there is no public default, the operator names one
    contract_id: str  # the KALE contract
    asset_code: str
    asset_issuer: str
    asset_contract_id: str  # the Stellar asset contract (SAC) of KALE
    web_auth_id: str | None  # the contract of SEP-45, by which contract accounts sign in; None: none is known
    tractor_id: str | None  # batch harvest; None: the network has none
    friendbot_url: str | None  # free XLM for new accounts
    explorer_url: str | None  # a page per transaction at {explorer_url}/tx/{hash}
    ledger_seconds: float
    block_seconds: int
    # SHA-256 of the KALE contract's code that this version knows, in hex; … stands for digits that do not count. None:
    # any code is taken for it.
    contract_wasm: str | None = None

    @property
    def rpc_urls(self) -> tuple[str, ...]:
        """The servers, the one to ask first in front."""
        return tuple(dict.fromkeys((self.rpc_url or "").replace(",", " ").split()))

    def knows_contract(self, wasm: str | None) -> bool:
        """Whether the contract's code is the one that is known. `wasm`: None where that is not told."""
        if self.contract_wasm is None or wasm is None:
            return True
        first, _, last = self.contract_wasm.partition("…")
        return wasm.startswith(first) and wasm.endswith(last)


DEVNET = Network(
    name="devnet",
    passphrase="kalepool Devnet ; November 2026",
    rpc_url=None,
    contract_id="CC5WCFUJZ4UOHSQNXM4SU57L5LZXWCVGSMMMOAN32DHLXJUGMWTNZWZC",
    asset_code="KALE",
    asset_issuer="GB4DUS2LV6BFK2COCY6H6C5XIKX452SIWSLPISSOK6EYG3HPXXCGBAPF",
    asset_contract_id="CDTKLZID7AOWZZRNOUHKXNWXYL4WWXGOSBJCXF23FQS257FINO5VP6ZI",
    web_auth_id="CBNE7FFRIA2YRHN4CJECQBTDNGGMOLXJNSGZLS5BKSXQGHV2ECOC2UHZ",
    tractor_id="CDNKICN2H2PK7FHJGRRT5VUWGUIOWYU57F4BJSZTR47ALO56RRM66M6E",
    friendbot_url=None,
    explorer_url=None,
    ledger_seconds=5.0,
    block_seconds=300,
)

TESTNET = Network(
    name="testnet",
    passphrase="Test SDF Network ; September 2015",
    rpc_url="https://soroban-testnet.stellar.org",
    contract_id="CDSWUUXGPWDZG76ISK6SUCVPZJMD5YUV66J2FXFXFGDX25XKZJIEITAO",
    asset_code="KALE",
    asset_issuer="GCHPTWXMT3HYF4RLZHWBNRF4MPXLTJ76ISHMSYIWCCDXWUYOQG5MR2AB",
    asset_contract_id="CAAVU2UQJLMZ3GUZFM56KVNHLPA3ZSSNR4VP2U53YBXFD2GI3QLIVHZZ",
    web_auth_id=None,
    tractor_id=None,
    friendbot_url="https://friendbot.stellar.org",
    explorer_url="https://stellar.expert/explorer/testnet",
    ledger_seconds=5.0,
    block_seconds=300,
)

MAINNET = Network(
    name="mainnet",
    passphrase="Public Global Stellar Network ; September 2015",
    rpc_url=None,
    contract_id="CDL74RF5BLYR2YBLCCI7F5FB6TPSCLKEJUBSD2RSVWZ4YHF3VMFAIGWA",
    asset_code="KALE",
    asset_issuer="GBDVX4VELCDSQ54KQJYTNHXAHFLBCA77ZY2USQBM4CSHTTV7DME7KALE",
    asset_contract_id="CB23WRDQWGSP6YPMY4UV5C4OW5CBTXKYN3XEATG7KJEZCXMJBYEHOUOV",
    web_auth_id="CALI6JC3MSNDGFRP7Z2OKUEPREHOJRRXKMJEWQDEFZPFGXALA45RAUTH",
    tractor_id="CBGSBKYMYO6OMGHQXXNOBRGVUDFUDVC2XLC3SXON5R2SNXILR7XCKKY3",
    friendbot_url=None,
    explorer_url="https://stellar.expert/explorer/public",
    ledger_seconds=5.0,
    block_seconds=300,
    contract_wasm="db2c1429…1627",
)

NETWORKS = {network.name: network for network in (DEVNET, TESTNET, MAINNET)}
