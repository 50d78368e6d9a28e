"""What the pool does for its farmers, miners and operators. Chain + custody + database, and no HTTP.

context.py        what every service acts through; only the API process builds one, and with it can sign
journal/          write before send: every transaction, from intent to outcome
books/            the double-entry books: held against the chain, shown, exported, corrected
postings.py       entries of the books, each once
farming/          plant, work, harvest, and what is owed for lost stakes
mining/           external miners: jobs, shares, credits
lookups.py        what callers may have looked up on the chain, once a ledger
pool_accounts.py  the pool's own accounts: one pays, the channels carry work and harvests
own_wallets.py    farmers that plant themselves, with wallets that the pool has no key of
prepaying.py      what these have paid ahead
farmers.py        farmers: registered, let in once funded
wallets.py        farmers' wallets: numbered, and brought back by the master key alone
wallet_turns.py   whose turn it is at a farmer's wallet: plants before payments
holdings.py       where a farmer's KALE is: wallet and pails, as of one ledger
withdrawals.py    paid out to a farmer while it stays
seals.py          payout wallets against whoever writes to the database
leaving.py        a farmer goes, with everything that is its own
blocks.py         what was planted, worked and harvested, block by block
totals.py         the whole pool in numbers
settling.py       adds up what does not change any more
poolers.py        who runs farmers
operators.py      what operators do: pause, bans, corrections
seeking.py        farmers, miners and actions as operators seek them
operator_wallets.py  operators who sign in with a wallet
owed.py           what each farmer is owed of the last day's zeros and rewards
keys.py           API keys
signin.py         farmers sign in with their wallets (SEP-10)
contract_signin.py  the same with contract accounts (SEP-45)
browsing.py       browsers that are signed in
failures.py       why something did not happen: errors and failures as plain data
coordinators.py   which coordinator of a pooler leads, and who stands by
presence.py       when the pool itself was away
siblings.py       the API's processes: who is there, who leads, what they tell each other
absences.py       when it is believed that something is gone from the ledger
health.py         each part of the pool, with its state
alerts.py         tells operators of trouble by webhook
own_alerts.py     tells farmers and miners of what is theirs, where each of them says
webhooks.py       addresses at which programs of others are told what happens: operators', farmers', miners'
webhook_sending.py  makes what happens into deliveries to these, and sends them
outgoing.py       the one door out for messages
retention.py      what is kept for how long
upkeep.py         what is done again and again while the API runs
"""
