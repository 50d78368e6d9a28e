"""kalepool: a mining pool for KALE, the proof-of-teamwork token on Stellar.

Imports point down this list; `pyproject.toml` has the exact rule.

__main__.py         the command line: which command is called
commands/           the commands, a file each
up/                 `kalepool up`: starts all the parts, watches, ends them
api/                the REST API, the page and custody, as one process
coordinator/        the process that reads, decides and acts
devnet/             an offline Stellar network with KALE's contracts
view/               what the pool is doing, for people: page, terminal, status
services/           what the API does for farmers, miners and operators
cluster/            search workers on Ray
chain/              the one door to Stellar
custody.py          secret keys: made, sealed, opened only to sign
derivation.py       which secret key is whose: from the master key and a path
mine/               hashing for a pool over HTTP
simulation/         blocks of KALE as the pool would play them, without a network
bench.py            `kalepool bench`: how fast this machine hashes
database.py         the one door to PostgreSQL, and the queries of sql/
dumps.py            copies of the database as files
notices.py          what processes tell each other over PostgreSQL
postgres.py         the embedded PostgreSQL
policy/             what the pool decides, pure
protocol/           the KALE contract's rules, pure
shown_settings.py   every setting in words, its value as far as it may be shown
config.py           every setting, a row each
contract_errors.py  what the KALE contract says no with, a class for each code
errors.py           every other error, as one tree
marking.py          texts that are shown in the reader's language, and sums in them
fencing.py          for which leadership of a coordinator something is done
actions.py          the names of what the pool does on the chain
logins.py           the roles that processes log in to PostgreSQL as
networks.py         devnet, testnet and mainnet with their ids
log.py              how every process logs
tracing.py          spans of a block, a share and a payout, for OpenTelemetry
heartbeat.py        signs of life, from a process to the one that started it
processes.py        child processes that never outlive us
clock.py            the time by a clock that is never set
tasks.py            ending tasks for certain
grouped.py          questions that come at about the same time, answered together
endings.py          how a command line ends: what went wrong, and the exit status
platforms.py        what differs between Linux, macOS and Windows for a program that hashes
hardening.py        what keeps others out of a process that holds secrets
names.py            what people may call things
units.py            amounts, rates and times as people read them
"""
