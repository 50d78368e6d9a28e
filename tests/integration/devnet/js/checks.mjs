// What the official JavaScript SDK finds on the devnet, one thing after the other:
//   node checks.mjs RPC_URL KALE_ASSET_CONTRACT ISSUER
// Prints one line of JSON: each check by name, true or what went wrong.
import assert from "node:assert/strict";
import {
  Asset, AuthClawbackEnabledFlag, AuthRequiredFlag, AuthRevocableFlag, Claimant, hash, Keypair, MuxedAccount, Memo, nativeToScVal, Operation,
  rpc, scValToNative, StrKey, TransactionBuilder, xdr,
} from "@stellar/stellar-sdk";

const [url, assetContract, issuer] = process.argv.slice(2);
const server = new rpc.Server(url, { allowHttp: true });
const { passphrase: networkPassphrase, friendbotUrl } = await server.getNetwork();
const kale = new Asset("KALE", issuer);
const found = {};

async function check(name, work) {
  try {
    await work();
    found[name] = true;
  } catch (error) {
    found[name] = String(error?.stack ?? error).slice(0, 600);
  }
}

async function funded() {
  const key = Keypair.random();
  await server.fundAddress(key.publicKey());
  return key;
}

async function build(source, operations, memo) {
  const builder = new TransactionBuilder(await server.getAccount(source), { fee: "1000", networkPassphrase });
  operations.forEach((operation) => builder.addOperation(operation));
  if (memo) builder.addMemo(memo);
  return builder.setTimeout(300).build();
}

async function send(transaction, ...signers) {
  transaction.sign(...signers);
  return server.sendTransaction(transaction);
}

async function apply(transaction, ...signers) {
  const sent = await send(transaction, ...signers);
  assert.equal(sent.status, "PENDING", JSON.stringify(sent));
  const done = await server.pollTransaction(sent.hash, { attempts: 200, sleepStrategy: () => 30 });
  assert.equal(done.status, "SUCCESS", JSON.stringify(done.resultXdr));
  return done;
}

const [alice, bob, carol] = await Promise.all([funded(), funded(), funded()]);
for (const key of [alice, bob]) {
  await apply(await build(key.publicKey(), [Operation.changeTrust({ asset: kale })]), key);
  assert.equal((await fetch(`${friendbotUrl}?addr=${key.publicKey()}&kale=100`)).status, 200);
}
const native = Asset.native();
const contract = StrKey.encodeContract(Buffer.alloc(32, 7));

await check("a contract is funded", async () => {
  const done = await server.fundAddress(contract);
  assert.equal(done.status, "SUCCESS");
});

await check("the account that reads are made as is there", async () => {
  const account = await server.getAccount("GAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAWHF");
  assert.ok(account.sequenceNumber());
});

for (const [name, asset, to] of [
  ["XLM to an account", native, bob.publicKey()],
  ["XLM to a contract", native, contract],
  ["KALE to an account", kale, bob.publicKey()],
  ["KALE to a contract", kale, contract],
]) {
  await check(`a transfer that was not simulated: ${name}`, async () => {
    const builder = new TransactionBuilder(await server.getAccount(alice.publicKey()), { fee: "1000", networkPassphrase });
    await apply(builder.addSacTransferOperation(to, asset, "5").setTimeout(300).build(), alice);
  });
}

await check("what a contract holds", async () => {
  const answer = await server.getSACBalance(contract, kale, networkPassphrase);
  assert.equal(answer.balanceEntry.amount, "5");
});

async function transferEvent(done) {
  const { events } = await server.getEvents({ startLedger: done.ledger, filters: [{ type: "contract" }] });
  return scValToNative(events.find((event) => event.txHash === done.txHash && scValToNative(event.topic[0]) !== "fee").value);
}

await check("an M… address in an event", async () => {
  const muxed = new MuxedAccount(await server.getAccount(bob.publicKey()), "77").accountId();
  const payment = Operation.payment({ destination: muxed, asset: kale, amount: "1" });
  const done = await apply(await build(alice.publicKey(), [payment]), alice);
  assert.deepEqual(await transferEvent(done), { amount: 10_000_000n, to_muxed_id: 77n });
});

await check("a memo in an event", async () => {
  const payment = Operation.payment({ destination: bob.publicKey(), asset: kale, amount: "1" });
  const done = await apply(await build(alice.publicKey(), [payment], Memo.text("invoice 7")), alice);
  assert.deepEqual(await transferEvent(done), { amount: 10_000_000n, to_muxed_id: "invoice 7" });
});

await check("a claimable balance is made, found and claimed", async () => {
  const claimants = [new Claimant(bob.publicKey()), new Claimant(alice.publicKey(), Claimant.predicateNot(Claimant.predicateBeforeRelativeTime("3600")))];
  const made = await build(alice.publicKey(), [Operation.createClaimableBalance({ asset: kale, amount: "2", claimants })]);
  await apply(made, alice);
  const balanceId = made.getClaimableBalanceId(0);
  const entry = await server.getClaimableBalance(balanceId);
  assert.equal(entry.amount, 20_000_000n);
  const early = await build(alice.publicKey(), [Operation.claimClaimableBalance({ balanceId })]);
  early.sign(alice);
  const sent = await server.sendTransaction(early);
  const failed = await server.pollTransaction(sent.hash, { attempts: 200, sleepStrategy: () => 30 });
  assert.equal(failed.status, "FAILED");
  await apply(await build(bob.publicKey(), [Operation.claimClaimableBalance({ balanceId })]), bob);
  await assert.rejects(server.getClaimableBalance(balanceId));
});

await check("a data entry", async () => {
  await apply(await build(alice.publicKey(), [Operation.manageData({ name: "color", value: "green" })]), alice);
  await apply(await build(alice.publicKey(), [Operation.manageData({ name: "color", value: null })]), alice);
});

await check("an issuer authorises, revokes and claws back", async () => {
  const asset = new Asset("STRICT", carol.publicKey());
  const flags = AuthRequiredFlag | AuthRevocableFlag | AuthClawbackEnabledFlag;
  await apply(await build(carol.publicKey(), [Operation.setOptions({ setFlags: flags })]), carol);
  await apply(await build(bob.publicKey(), [Operation.changeTrust({ asset })]), bob);
  const trustor = bob.publicKey();
  await apply(await build(carol.publicKey(), [
    Operation.setTrustLineFlags({ trustor, asset, flags: { authorized: true } }),
    Operation.payment({ destination: trustor, asset, amount: "5" }),
    Operation.clawback({ from: trustor, asset, amount: "2" }),
    Operation.setTrustLineFlags({ trustor, asset, flags: { authorized: false, authorizedToMaintainLiabilities: true } }),
  ]), carol);
  const line = await server.getTrustline(trustor, asset);
  assert.equal(line.balance, 30_000_000n);
});

await check("a refusal's result is read whole", async () => {
  const bad = Operation.payment({ destination: bob.publicKey(), asset: kale, amount: "1", source: carol.publicKey() });
  const untouched = Operation.createClaimableBalance({ asset: kale, amount: "2", claimants: [new Claimant(bob.publicKey())] });
  const sent = await send(await build(alice.publicKey(), [bad, untouched]), alice);
  assert.equal(sent.status, "ERROR");
  assert.equal(sent.errorResult.toXdr("base64"), xdr.TransactionResult.fromXdr(sent.errorResult.toXdr()).toXdr("base64"));
});

await check("a master key takes its own weight away and still signs", async () => {
  const key = await funded();
  await apply(await build(key.publicKey(), [
    Operation.setOptions({ masterWeight: 0, signer: { ed25519PublicKey: alice.publicKey(), weight: 1 } }),
    Operation.payment({ destination: bob.publicKey(), asset: native, amount: "1" }),
  ]), key);
  const refused = await send(await build(key.publicKey(), [Operation.bumpSequence({ bumpTo: "0" })]), key);
  assert.equal(refused.status, "ERROR");
  await apply(await build(key.publicKey(), [Operation.bumpSequence({ bumpTo: "0" })]), alice);
});

await check("a preimage signs", async () => {
  const key = await funded();
  const preimage = Buffer.from("a secret of some length");
  await apply(await build(key.publicKey(), [Operation.setOptions({ signer: { sha256Hash: hash(preimage), weight: 1 } })]), key);
  const transaction = await build(key.publicKey(), [Operation.bumpSequence({ bumpTo: "0" })]);
  transaction.signHashX(preimage);
  const sent = await server.sendTransaction(transaction);
  assert.equal(sent.status, "PENDING");
});

await check("a pre-authorised transaction needs no signature", async () => {
  const key = await funded();
  const account = await server.getAccount(key.publicKey());
  account.incrementSequenceNumber();
  const later = new TransactionBuilder(account, { fee: "1000", networkPassphrase })
    .addOperation(Operation.bumpSequence({ bumpTo: "0" })).setTimeout(300).build();
  await apply(await build(key.publicKey(), [Operation.setOptions({ signer: { preAuthTx: later.hash(), weight: 1 } })]), key);
  await apply(later);
});

await check("allowances", async () => {
  const { sequence } = await server.getLatestLedger();
  const address = (strkey) => nativeToScVal(strkey, { type: "address" });
  const amount = (value) => nativeToScVal(value, { type: "i128" });
  const call = async (key, name, ...args) => {
    const operation = Operation.invokeContractFunction({ contract: assetContract, function: name, args });
    const done = await apply(await server.prepareTransaction(await build(key.publicKey(), [operation])), key);
    return scValToNative(done.returnValue);
  };
  const pair = [address(alice.publicKey()), address(bob.publicKey())];
  await call(alice, "approve", ...pair, amount(50n), nativeToScVal(sequence + 1000, { type: "u32" }));
  await call(bob, "transfer_from", pair[1], ...pair, amount(20n));
  assert.equal(await call(bob, "allowance", ...pair), 30n);
});

await check("a key that is asked for twice", async () => {
  const key = xdr.LedgerKey.account(new xdr.LedgerKeyAccount({ accountId: alice.xdrPublicKey() }));
  assert.equal((await server.getLedgerEntries(key)).entries.length, 1);
  await assert.rejects(server.getLedgerEntries(key, key));
  await assert.rejects(server.getLedgerEntries());
});

await check("a method nobody has", async () => {
  const body = JSON.stringify({ jsonrpc: "2.0", id: 8, method: "getNothing" });
  const answer = await (await fetch(url, { method: "POST", body, headers: { "Content-Type": "application/json" } })).json();
  assert.deepEqual(answer, { jsonrpc: "2.0", id: 8, error: { code: -32601, message: "method not found", data: "getNothing" } });
});

console.log(JSON.stringify(found));
