"""What the page's figures mean: a word for each, and its meaning in a sentence or two."""

from __future__ import annotations

from dataclasses import dataclass

from kalepool.view.words import mark


@dataclass(frozen=True, slots=True)
class Meaning:
    """Both in English, as the catalogue has them."""

    label: str
    text: str


STATES = {
    "registered": mark("registered"),
    "active": mark("active"),
    "inactive": mark("inactive"),
    "leaving": mark("leaving"),
    "departed": mark("departed"),
    "owed": mark("owed"),
    "to-check": mark("to be checked"),
    "not-owed": mark("not owed"),
}
"""What the database says of farmers, poolers, miners and lost stakes, as people call it."""

MEANINGS: dict[str, Meaning] = {
    "planted": Meaning(
        mark("Planted"),
        mark("Farmers whose stake is in this block, of those that take part. A stake comes back with the harvest."),
    ),
    "worked": Meaning(
        mark("Worked"),
        mark("Planted farmers of whom a work is on the chain. Who is not worked when the block ends loses its stake."),
    ),
    "harvested": Meaning(
        mark("Harvested"),
        mark("Farmers that got stake and reward of the last block back. It begins when the next block does."),
    ),
    "unworked-stakes": Meaning(
        mark("Unworked stakes"),
        mark("KALE of this block's farmers that are not worked yet: what is lost if the pool stops now."),
    ),
    "hashrate": Meaning(
        mark("Hashrate"),
        mark("Hashes a second, of the pool's own workers and all miners together, over the last seconds."),
    ),
    "bounds": Meaning(
        mark("Bounds of zeros"),
        mark(
            "The block's bounds, by what was handed in for the block before: "
            "up to the lower one there is no more than the least reward."
        ),
    ),
    "gap-bounds": Meaning(
        mark("Bounds of the gap"),
        mark("The block's bounds, by the block before: a gap beyond the upper one brings no more."),
    ),
    "stake-bounds": Meaning(
        mark("Bounds of the stake"),
        mark("The block's bounds, by the block before: a stake beyond the upper one brings no more."),
    ),
    "expected": Meaning(mark("Expected"), mark("What the contract's own rule gave before the harvest, in KALE.")),
    "received": Meaning(
        mark("Received"), mark("What the harvest brought, in KALE, without the stake. The pool's fee is still in it.")
    ),
    "handed-in": Meaning(
        mark("Zeros"),
        mark("Leading zeros of its hash on the chain; up to the block's least they earn no more than none."),
    ),
    "not-collected": Meaning(
        mark("Not yet collected"),
        mark("The pool's fee in KALE that is still in the wallet: no part of the balance here."),
    ),
    "network-fees": Meaning(
        mark("Network's fees, XLM"),
        mark(
            "What the network charged for its transactions. The pool paid it, but for what was before the farmer was "
            "active: no part of the sums here."
        ),
    ),
    "expected-all": Meaning(
        mark("Expected of that"), mark("What the contract's own rule gave for these rewards, where it was reckoned.")
    ),
    "xlm": Meaning(
        mark("XLM lasts"),
        mark("How long the pool's XLM lasts at the last day's network fees. Without it nothing is planted."),
    ),
    "state": Meaning(
        mark("State"), mark("How far the farmer is in this block: planted, with a share, worked; or why not.")
    ),
    "found": Meaning(
        mark("Found"), mark("Leading zeros of the best hash that was found for the farmer in this block.")
    ),
    "worked-zeros": Meaning(
        mark("Worked"),
        mark("Leading zeros of the work that is on the chain. It goes out late: a longer gap brings more."),
    ),
    "against": Meaning(
        mark("Zeros against the bounds"),
        mark("The bar is what was handed in, the tick what was found, the band the block's bounds."),
    ),
    "gap": Meaning(mark("Gap"), mark("Ledgers between the plant and the work. The longer, the larger the reward.")),
    "stake": Meaning(
        mark("Stake"), mark("KALE that was planted. It comes back with the harvest if the farmer is worked.")
    ),
    "forecast": Meaning(
        mark("Forecast"), mark("The reward in KALE if the block ended as it stands, by the contract's own rule.")
    ),
    "reward": Meaning(
        mark("Reward"), mark("KALE that was minted for the work, without the stake. The pool's part is still in it.")
    ),
    "staked": Meaning(mark("Staked"), mark("KALE that the pool's farmers planted in this block.")),
    "staked-all": Meaning(
        mark("Staked in all"), mark("KALE that was planted in all blocks together; each stake counts once a block.")
    ),
    "rewarded-all": Meaning(
        mark("Rewarded in all"), mark("KALE that was minted for all of the farmer's works, without the stakes.")
    ),
    "best-zeros": Meaning(mark("Best zeros"), mark("Leading zeros of the farmer's best work, in any block.")),
    "blocks-planted": Meaning(mark("Planted"), mark("Blocks in which the farmer's stake was planted.")),
    "blocks-worked": Meaning(mark("Worked"), mark("Blocks in which a work for the farmer reached the chain.")),
    "blocks-harvested": Meaning(mark("Harvested"), mark("Blocks of which the farmer has stake and reward back.")),
    "last-seen": Meaning(mark("Last seen"), mark("When it last asked for a job or brought a share.")),
    "miner-hashrate": Meaning(
        mark("Hashrate"),
        mark(
            "Hashes a second of the rigs at work, by the shares of the last ten minutes: it goes up and down by luck, "
            "and differs from what the miner itself shows."
        ),
    ),
    "rigs-at-work": Meaning(
        mark("Rigs at work"),
        mark("Machines heard of within the last 75 seconds, of all under the miner's keys that were not retired."),
    ),
    "to-claim": Meaning(
        mark("To be claimed"),
        mark("KALE that lies on the ledger as claimable balances, for the payout wallet to fetch."),
    ),
    "earned": Meaning(mark("Earned"), mark("KALE that was credited for shares so far.")),
    "due": Meaning(
        mark("Due"), mark("KALE that was credited and is not on its way: it is paid from the miner's threshold on.")
    ),
    "on-its-way": Meaning(mark("On its way"), mark("KALE in a payment that no ledger has confirmed yet.")),
    "paid": Meaning(mark("Paid"), mark("KALE that ledgers have paid out so far.")),
    "shares": Meaning(mark("Shares"), mark("Hashes with enough zeros that were brought and accepted.")),
    "booked": Meaning(mark("Yours"), mark("What is yours by the pool's books: in its wallet, and planted.")),
    "unbooked": Meaning(
        mark("On its way into the books"),
        mark("A deposit, a payment or a harvest of this moment: the chain has it, the books have it within seconds."),
    ),
    "solo-block": Meaning(
        mark("SOLO"),
        mark("A miner of yours found the hash for this farmer alone: the pool takes its service fee only."),
    ),
    "solo": Meaning(
        mark("SOLO"),
        mark("Shares for a farmer of the miner's own alone. They are in no part; the pool takes its service fee only."),
    ),
    "refused": Meaning(mark("Refused"), mark("Shares that came too late, twice, or without enough zeros.")),
    "hashes": Meaning(
        mark("Hashes"), mark("How many hashes the accepted shares take on average: what credits are reckoned by.")
    ),
    "part": Meaning(mark("Part"), mark("Of all hashes of this block, the pool's own workers' too.")),
}
"""By the name that templates ask for."""
