// Drives a whole KALE cycle with the official JavaScript SDK, as it would against testnet:
//   node cycle.mjs RPC_URL KALE_CONTRACT TRACTOR_CONTRACT ASSET_CONTRACT ISSUER
// The devnet must allow faults (POST /ledgers moves its time) and have blocks of 60 s. Prints one line of JSON with what it saw. Any surprise ends it with an error.
import assert from "node:assert/strict";
import { keccak_256 } from "@noble/hashes/sha3.js";
import {
  Address, Asset, authorizeEntry, contract, hash, Keypair, nativeToScVal, Operation, rpc, scValToNative,
  StrKey, TransactionBuilder, xdr,
} from "@stellar/stellar-sdk";

const [url, kale, tractor, assetContract, issuer] = process.argv.slice(2);
const server = new rpc.Server(url, { allowHttp: true });
const { passphrase: networkPassphrase, friendbotUrl } = await server.getNetwork();
const asset = new Asset("KALE", issuer);
const seen = { assetContractId: asset.contractId(networkPassphrase) };

const hex = (bytes) => Buffer.from(bytes).toString("hex");
const address = (key) => new Address(key).toScVal();
const u32 = (value) => nativeToScVal(value, { type: "u32" });
const call = (id, name, ...args) => Operation.invokeContractFunction({ contract: id, function: name, args });

async function build(source, ...operations) {
  const builder = new TransactionBuilder(await server.getAccount(source), { fee: "1000", networkPassphrase });
  operations.forEach((operation) => builder.addOperation(operation));
  return builder.setTimeout(300).build();
}

async function follow(transaction) {
  const sent = await server.sendTransaction(transaction);
  assert.equal(sent.status, "PENDING", JSON.stringify(sent));
  return server.pollTransaction(sent.hash, { attempts: 200, sleepStrategy: () => 50 });
}

async function apply(transaction, ...signers) {
  transaction.sign(...signers);
  const done = await follow(transaction);
  assert.equal(done.status, "SUCCESS", JSON.stringify(done));
  return done;
}

async function invoke(signer, operation) {
  const transaction = await server.prepareTransaction(await build(signer.publicKey(), operation));
  const done = await apply(transaction, signer);
  return scValToNative(done.returnValue);
}

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

async function nextLedger() {
  const { sequence } = await server.getLatestLedger();
  while ((await server.getLatestLedger()).sequence === sequence) await pause(30);
}

async function farm() {
  const entry = await server.getContractData(kale, xdr.ScVal.scvLedgerKeyContractInstance(), rpc.Durability.Persistent);
  const items = entry.val.contractData.val.instance.storage;
  return Object.fromEntries(items.map(({ key, val }) => [scValToNative(key)[0], scValToNative(val)]));
}

async function block(index) {
  const key = xdr.ScVal.scvVec([xdr.ScVal.scvSymbol("Block"), u32(index)]);
  const entry = await server.getContractData(kale, key, rpc.Durability.Temporary);
  assert.ok(entry.liveUntilLedgerSeq > entry.lastModifiedLedgerSeq);
  return scValToNative(entry.val.contractData.val);
}

function workHash(index, nonce, entropy, farmer) {
  const message = Buffer.alloc(76);
  message.writeUInt32BE(index, 0);
  message.writeBigUInt64BE(nonce, 4);
  Buffer.from(entropy).copy(message, 12);
  StrKey.decodeEd25519PublicKey(farmer).forEach((byte, at) => message.writeUInt8(byte, 44 + at));
  return Buffer.from(keccak_256(message));
}

// --- the network itself
assert.equal((await server.getHealth()).status, "healthy");
seen.version = (await server.getVersionInfo()).version;
const latest = await server.getLatestLedger();
assert.equal(latest.headerXdr.ledgerSeq, latest.sequence);
await server.getFeeStats();

// --- accounts: friendbot, createAccount, trustlines, payments in XLM and KALE
const [alice, bob, pool] = [Keypair.random(), Keypair.random(), Keypair.random()];
const funded = await server.fundAddress(alice.publicKey());
assert.equal(funded.status, "SUCCESS");
await server.requestAirdrop(pool.publicKey());
await assert.rejects(server.fundAddress(pool.publicKey()), /createAccountAlreadyExist/);
await apply(await build(alice.publicKey(),
  Operation.createAccount({ destination: bob.publicKey(), startingBalance: "100" }),
  Operation.payment({ destination: pool.publicKey(), asset: Asset.native(), amount: "1.5" }),
), alice);
for (const farmer of [alice, bob]) await apply(await build(farmer.publicKey(), Operation.changeTrust({ asset })), farmer);
const gift = await fetch(`${friendbotUrl}?addr=${alice.publicKey()}&kale=500`);
assert.equal(gift.status, 200, await gift.text());
await apply(await build(alice.publicKey(), Operation.payment({ destination: bob.publicKey(), asset, amount: "200" })), alice);

// --- plant: alice through a client made from the contract's own specification, bob bumped by the pool
const signer = contract.basicNodeSigner(alice, networkPassphrase);
const client = await contract.Client.from({
  contractId: kale, networkPassphrase, rpcUrl: url, allowHttp: true, publicKey: alice.publicKey(), ...signer,
});
const planted = await client.plant({ farmer: alice.publicKey(), amount: 1_000_000_000n });
await planted.signAndSend();
const inner = await server.prepareTransaction(await build(bob.publicKey(), call(kale, "plant", address(bob.publicKey()), nativeToScVal(500n, { type: "i128" }))));
inner.sign(bob);
const bumped = TransactionBuilder.buildFeeBumpTransaction(pool, "2000", inner, networkPassphrase);
const bobPlanted = await apply(bumped, pool);
assert.equal(bobPlanted.feeBump, true);
assert.equal((await server.getTransaction(hex(inner.hash()))).status, "SUCCESS");
const again = await server.simulateTransaction(await build(alice.publicKey(), call(kale, "plant", address(alice.publicKey()), nativeToScVal(0n, { type: "i128" }))));
assert.match(again.error, /Error\(Contract, #8\)/);
await nextLedger();

// --- work, by anybody: the pool
const { FarmIndex: index = 0 } = await farm();
const { entropy } = await block(index);
for (const farmer of [alice, bob]) {
  const key = farmer.publicKey();
  const nonce = 2n ** 63n + 7n;
  const gap = await invoke(pool, call(kale, "work", address(key), nativeToScVal(workHash(index, nonce, entropy, key)), nativeToScVal(nonce, { type: "u64" })));
  assert.ok(gap >= 1);
}

// --- a minute later the next block starts, with a plant that bob authorises and the pool sends
await fetch(`${url}/ledgers?seconds=60`, { method: "POST" });
const args = [address(bob.publicKey()), nativeToScVal(0n, { type: "i128" })];
const simulated = await server.simulateTransaction(await build(pool.publicKey(), call(kale, "plant", ...args)));
const until = simulated.latestLedger + 1000;
const auth = await Promise.all(simulated.result.auth.map((entry) => authorizeEntry(entry, bob, until, networkPassphrase)));
const authorised = Operation.invokeContractFunction({ contract: kale, function: "plant", args, auth });
await apply(await server.prepareTransaction(await build(pool.publicKey(), authorised)), pool);
assert.equal((await farm()).FarmIndex, index + 1);

// --- harvest: bob's pail alone, alice's through the tractor
const bobReward = await invoke(pool, call(kale, "harvest", address(bob.publicKey()), u32(index)));
const aliceRewards = await invoke(pool, call(tractor, "harvest", address(alice.publicKey()), xdr.ScVal.scvVec([u32(index), u32(index + 5)])));
assert.equal(aliceRewards.length, 2);
assert.equal(aliceRewards[1], 0n);
const empty = await server.simulateTransaction(await build(pool.publicKey(), call(tractor, "harvest", address(bob.publicKey()), xdr.ScVal.scvVec([u32(index)]))));
assert.match(empty.error, /Error\(Contract, #2\)/);
seen.rewards = [aliceRewards[0], bobReward].map(String);
for (const [name, farmer] of [["alice", alice], ["bob", bob]]) {
  const line = await server.getTrustline(farmer.publicKey(), asset);
  seen[name] = line.balance.toString();
  const simulated = await server.simulateTransaction(await build(pool.publicKey(), call(assetContract, "balance", address(farmer.publicKey()))));
  assert.equal(String(scValToNative(simulated.result.retval)), seen[name]);
}

// --- history: events with filters and pages, transactions, ledgers
const topic = [nativeToScVal("mint", { type: "symbol" }).toXdr("base64"), address(alice.publicKey()).toXdr("base64"), "*"];
const mints = await server.getEvents({ startLedger: 1, filters: [{ type: "contract", contractIds: [assetContract], topics: [topic] }] });
seen.mints = mints.events.map((event) => String(scValToNative(event.value)));
const firstPage = await server.getEvents({ startLedger: 1, filters: [], limit: 5 });
const secondPage = await server.getEvents({ cursor: firstPage.cursor, filters: [], limit: 5 });
assert.equal(new Set([...firstPage.events, ...secondPage.events].map((event) => event.id)).size, 10);
const { transactions } = await server.getTransactions({ startLedger: 1, pagination: { limit: 100 } });
seen.transactions = transactions.length;
assert.ok(transactions.every((transaction) => transaction.status === "SUCCESS"));
const { ledgers } = await server.getLedgers({ startLedger: 1, pagination: { limit: 50 } });
for (const ledger of ledgers) assert.equal(hex(hash(ledger.headerXdr.header.toXdr())), ledger.hash);

// --- bob leaves: empties his trustline, closes it and his account
await apply(await build(bob.publicKey(),
  Operation.payment({ destination: alice.publicKey(), asset, amount: `${BigInt(seen.bob) / 10_000_000n}.${String(BigInt(seen.bob) % 10_000_000n).padStart(7, "0")}` }),
  Operation.changeTrust({ asset, limit: "0" }),
  Operation.accountMerge({ destination: pool.publicKey() }),
), bob);
await assert.rejects(server.getAccount(bob.publicKey()), /not found/i);

console.log(JSON.stringify(seen));
