"""The endpoints, one router an audience.

public.py        everybody: what the pool is, its blocks, /health, /info, the stream of events
books.py         everybody: the books; operators: correct them
page.py          everybody, in a browser
showing.py       everybody: what the public pages show, as JSON
browser.py       whoever signed in with one: signed out
browser_miner.py  the page that mines in a browser, and what its workers load
farm.py          farmers, in a browser: sign in, join
farm_wallet.py  the wallet that is signed in: trustline, a test network's free money
farm_account.py  one of them: fund, look, stake, withdraw, leave
mine_pages.py    miners, in a browser: sign in, join, the miner's package
mine_account.py  one of them: rigs, earnings, how it is paid, keys
own_alert_forms.py  both of them: where they are told of what is theirs
operating.py     operators, in a browser: what they see
operating_forms.py  operators, in a browser: what they change
operating_keys.py  operators, in a browser: keys and invitations
farmers.py       poolers and operators: farmers registered, listed, shown
farming.py       poolers: plant, work, harvest
pooler.py        poolers: their blocks, failures, what is owed
self_service.py  farmers: register by themselves, blocks, stake, withdraw, leave
csv_exports.py   farmers and operators: CSV and JSON files, their columns
sep10.py         farmers' wallets: sign in
sep45.py         contract accounts: the same
keys.py          whoever has a key: list, make and revoke keys
miner.py         external miners: jobs, shares, credits
closings.py      everybody: closed blocks, and every share behind their credits
earnings.py      external miners: what they have earned, and how they are paid
operator.py      operators
self_planters.py  operators: farmers that plant themselves
owning.py        farmers, miners, operators: what their pages show besides, as JSON
webhooks.py      operators, farmers, miners: where programs of theirs are told what happens
webhook_pages.py  the same, in a browser
metrics.py       Prometheus
"""
