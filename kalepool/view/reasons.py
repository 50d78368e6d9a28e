"""Why something did not happen, in the reader's language: an error by its own text where that is a `mark`, else by its
code. The codes are a closed vocabulary, and each has a sentence here; what the API says stays English."""

from __future__ import annotations

from kalepool.errors import KalepoolError
from kalepool.marking import mark
from kalepool.view.words import ENGLISH, Language

REASONS: dict[str, str] = {
    # blocks
    "underfunded": mark("the wallet has too little XLM or KALE: send some"),
    "account-missing": mark("the wallet is not on the ledger: send XLM to it"),
    "planting-paused": mark("the pool's operator has paused planting"),
    "farm-paused": mark("the KALE contract takes no plants now"),
    "contract-changed": mark("the KALE contract was changed, and the operator has yet to look at it"),
    "wallet-busy": mark("a withdrawal was under way"),
    "block-over": mark("the block was over"),
    "block-not-open": mark("the block had not begun"),
    "block-missing": mark("the block is gone from the ledger"),
    "block-invalid": mark("the block did not count"),
    "farm-block-missing": mark("the KALE contract has no block yet"),
    "deadline-passed": mark("there was no time left in the block"),
    "pool-away": mark("the pool was not running"),
    "work-missing": mark("no hash was handed in before the block was over"),
    "harvest-missing": mark("the harvest came too late"),
    "harvest-not-ready": mark("the block was not over"),
    "nothing-harvestable": mark("there was nothing to harvest"),
    "pail-exists": mark("it was planted before"),
    "pail-missing": mark("nothing was planted for it"),
    "hash-invalid": mark("the hash was not the one that counts"),
    "zero-count-too-low": mark("there was a better hash before"),
    "gap-count-too-low": mark("it was too early in the block"),
    "plant-amount-too-low": mark("the stake was less than nothing"),
    "homestead-exists": mark("the KALE contract refused"),
    "homestead-missing": mark("the KALE contract refused"),
    "farm-not-paused": mark("the KALE contract refused"),
    "contract": mark("the KALE contract refused"),
    "asset-contract": mark("KALE's own contract refused: the balance is too low, or there is no trustline"),
    # the network
    "chain": mark("the network did not do it"),
    "rpc-unavailable": mark("the network did not answer"),
    "rpc-rate-limited": mark("the network did not answer"),
    "history-gone": mark("what became of it is looked for"),
    "transaction-lost": mark("what became of it is looked for"),
    "fee-too-high": mark("the network asked for higher fees than the pool pays"),
    "fee-unpaid": mark("the pool's own account could not pay the network's fee"),
    "transaction-failed": mark("the network refused the transaction"),
    "transaction-expired": mark("the network did not take the transaction in time"),
    "footprint-stale": mark("the block turned over meanwhile"),
    "bad-sequence": mark("another transaction came first"),
    "insufficient-balance": mark("there was too little in the wallet"),
    "trustline-missing": mark("the wallet to be paid has no trustline for KALE, or it is full"),
    "resource-limit": mark("it was more than one transaction may do"),
    "trap": mark("the network refused the transaction"),
    "unexpected": mark("the network refused the transaction"),
    "timeout": mark("it took too long"),
    "in-flight": mark("it is on its way, and what came of it is not known yet"),
    "absence-unconfirmed": mark("what became of it is looked for"),
    "accounts-not-ready": mark("the pool's own accounts are not ready yet"),
    "network-restarted": mark("the network was started anew"),
    # farmers
    "amount-too-low": mark("that is less than the least that is withdrawn"),
    "balance-too-low": mark("that is more than can be withdrawn"),
    "withdrawal-open": mark("a withdrawal is on its way: wait until it is paid"),
    "payout-changed": mark("the payout wallet is another by now: withdraw anew"),
    "payout-account-missing": mark("the payout wallet is not on the ledger: create it, with 1 XLM or more"),
    "payout-trustline-missing": mark("the payout wallet has no KALE trustline: add it"),
    "memo-required": mark("the payout wallet asks for a memo, and there is none: ask the pool's operator to set one"),
    "paid-before": mark("it was paid before"),
    "not-active": mark("it was never active: to have its XLM back, let it leave"),
    "idempotency-key-reused": mark("this was signed for another withdrawal: load the page and sign anew"),
    "farmer-leaves": mark("the farmer leaves the pool"),
    "farmer-not-own": mark("that farmer is not paid to the same wallet"),
    "pail-open": mark("the block that it is planted in is not over"),
    "harvest-waits": mark("its last harvest is not done yet"),
    "under-way": mark("something of it is still under way"),
    "deposits-come": mark("somebody keeps sending it small amounts"),
    "pooler-full": mark("there is no place left: try again later"),
    "too-many-waiting": mark("too many farmers from here wait for funds: fund one of them first"),
    "registration-lapsed": mark("nothing came to its wallet in time: register again"),
    # signing
    "challenge-invalid": mark("what came back is not what was to be signed: load the page and sign what it shows"),
    "challenge-used": mark("this was used before: load the page and sign anew"),
    "deed-not-signed": mark("something else was signed: load the page and sign what it shows then"),
    "not-an-operator": mark("this wallet is not on the list of operators"),
    # miners
    "banned": mark("the miner is banned for a while"),
    "slowed": mark("many of the last shares did not count: wait, and check the miner"),
    "crowded": mark("too many requests of this rig wait for jobs"),
    "elsewhere": mark("another process of the pool deals with this rig"),
    "invite-needed": mark("an invitation is needed here, one that is known and not used up"),
    "last-key": mark("it is the last key, and there is no payout wallet to sign in with"),
    "too-many-keys": mark("there are as many keys as there may be: end one first"),
    "webhook-paused": mark("this webhook is paused: resume it first"),
    "too-many-webhooks": mark("there are as many webhooks as there may be: end one first"),
    "nothing-due": mark("too little is due to be paid"),
    "payout-open": mark("a payout is on its way, or waits for the treasury: try again in some minutes"),
    "payout-wallet-changed": mark("the payout wallet was changed meanwhile: load the page"),
    "payout-wallet-missing": mark("no payout wallet is set"),
    "payee-refused": mark("the network refused the payment to this wallet"),
    "payee-account-missing": mark("the payout wallet is not on the ledger: create it, with 1 XLM or more"),
    "payee-contract-missing": mark("the contract that is to be paid is not on the ledger"),
    "contract-too-little": mark("too little is due to be paid to a contract"),
    "payee-trustline-missing": mark("the payout wallet has no KALE trustline: add it"),
    "payee-not-authorised": mark("KALE's issuer has not authorised the wallet's trustline"),
    "payee-line-full": mark("the trustline of the payout wallet has too little room"),
    "payee-memo-required": mark("the payout wallet takes nothing without a memo: set one"),
    "payee-changed": mark("the payout wallet is another by now"),
    "claimable-unclaimed": mark("what is put down for the wallet has to be claimed first"),
    "claimable-too-little": mark("too little is due to be put down for the wallet to claim"),
    "claimable-reserve-missing": mark("the pool has no XLM to spare to put it down: it waits"),
    "claimable-late": mark("too little time would be left to claim it"),
    # operators
    "not-owed": mark("only what is owed can be paid"),
    "paid-already": mark("it was paid before, or is being paid: wait"),
    "transaction-unknown": mark("no such transaction is on the ledger"),
    "journal-behind": mark(
        "the ledger has transactions that the database lacks: nothing is paid until an operator looked"
    ),
    "books-off": mark("the books and the chain differ: nothing is paid until an operator has explained it"),
    # everything else
    "invalid-input": mark("something in what was sent is missing or wrong"),
    "not-found": mark("there is no such thing here, or it is not yours"),
    "conflict": mark("that is not possible as things stand"),
    "forbidden": mark("you may not do this here"),
    "sign-in-needed": mark("sign in with the payout wallet for this"),
    "several-miners": mark("several miners are paid to this wallet: choose one"),
    "unauthorized": mark("sign in first: there is no key, or it is unknown, expired or ended"),
    "csrf-refused": mark("this form is from before you signed in or out: load the page and try again"),
    "origin-refused": mark("this was not sent by a page of this pool"),
    "rate-limited": mark("too many requests from here: wait a minute"),
    "busy": mark("too much is going on here: try again in a minute"),
    "still-working": mark("it is still being done; the same sent again says what was done"),
    "too-large": mark("that is more than is taken here"),
    "request-timeout": mark("it came too slowly"),
    "bad-request": mark("it could not be read"),
    "unsupported-media-type": mark("it could not be read"),
    "head-too-large": mark("it could not be read"),
    "method-not-allowed": mark("that cannot be done here"),
    "leader-gone": mark("the pool is changing over; the same request may be sent again, nothing is done twice"),
    "no-leader": mark("the pool is changing over; the same request may be sent again, nothing is done twice"),
    "lead-lost": mark("the pool is changing over; the same request may be sent again, nothing is done twice"),
    "not-leading": mark("the pool is changing over; the same request may be sent again, nothing is done twice"),
    "database": mark("the pool has trouble with its database; the same request may be sent again"),
    "database-unavailable": mark("the pool has trouble with its database; the same request may be sent again"),
    "database-full": mark("the pool has trouble with its database; the same request may be sent again"),
    "duplicate": mark("that is there already"),
    "custody": mark("the pool cannot use the farmer's key now: its operator has to look"),
    "config": mark("the pool is set up wrongly: its operator has to look"),
    "internal": mark("an error on the pool's side; it is in its log"),
    "error": mark("an error on the pool's side; it is in its log"),
}


FAILED = {"plant": mark("not planted"), "work": mark("not worked"), "harvest": mark("not harvested")}
"""What did not happen, by what was tried."""


def reason(code: str | None) -> str:
    """The sentence of a code, to be translated; the pool's own error for one that nobody thought of."""
    return REASONS.get(code or "", REASONS["internal"])


def told(error: KalepoolError, words: Language = ENGLISH) -> str:
    """What is wrong, in the reader's language."""
    if words.language == ENGLISH.language:
        return str(error)
    if not words.has(error.text):
        return words.gettext(reason(error.code))
    names = {n: told(each, words) if isinstance(each, KalepoolError) else each for n, each in error.names.items()}
    return words.say(error.text, **names)
