/* A miner brings a share and a farmer withdraws, by a client that is generated: docs/api.md says how. Compiled beside it:

KALEPOOL_API_KEY=kp_… KALEPOOL_WALLET_SECRET=S… node built/share_and_withdraw.js http://127.0.0.1:8737 */

import { randomUUID } from "node:crypto";
import { keccak_256 } from "@noble/hashes/sha3.js";
import { Keypair, StrKey, TransactionBuilder, WebAuth } from "@stellar/stellar-sdk";
import { createClient } from "./client/client/index.js";
import {
  answerChallenge,
  getChallenge,
  getJob,
  getStellarToml,
  type JobView,
  listOwnFarmers,
  orderWithdrawal,
  submitShares,
  type WithdrawalView,
} from "./client/index.js";

/** Asks the pool; what it refuses is thrown, as the Problem it answers. */
function asking(pool: string, auth?: string) {
  return { client: createClient({ baseUrl: `${pool}/v1`, auth }), throwOnError: true } as const;
}

/** The first nonce of the job's range whose hash is below its target. */
function firstBelow(job: JobView): bigint {
  const message = Buffer.alloc(4 + 8 + 32 + 32);
  message.writeUInt32BE(job.block_index, 0);
  Buffer.from(job.entropy, "hex").copy(message, 12);
  Buffer.from(StrKey.decodeEd25519PublicKey(job.farmer)).copy(message, 44);
  const target = Buffer.from(job.target, "hex");
  for (let nonce = BigInt(job.nonce_start); ; nonce++) {
    message.writeBigUInt64BE(nonce, 4);
    if (Buffer.compare(keccak_256(message).subarray(0, 8), target) < 0) return nonce;
  }
}

/** What became of a share. */
async function mine(pool: string, key: string): Promise<string | undefined> {
  const miner = asking(pool, key);
  const { data: job } = await getJob({ ...miner, query: { rig: "typescript", wait: 30, hashes_per_second: 1 } });
  if (!job) throw new Error("no job");
  const share = { job_id: job.job_id, nonce: firstBelow(job).toString() };
  const { data: answer } = await submitShares({ ...miner, body: share });
  return answer.results[0]?.outcome;
}

/** A token for the wallet (SEP-10). */
async function signIn(pool: string, wallet: Keypair): Promise<string> {
  const { data: toml } = await getStellarToml({ ...asking(pool), parseAs: "text" });
  const said = (name: string): string => JSON.parse(toml.match(new RegExp(`^${name} = (".*")$`, "m"))?.[1] ?? '""');
  const { data: asked } = await getChallenge({ ...asking(pool), query: { account: wallet.publicKey() } });
  if (asked.network_passphrase !== said("NETWORK_PASSPHRASE")) throw new Error("the pool names two networks");
  const domain = new URL(said("WEB_AUTH_ENDPOINT"));
  // Never sign before this: it throws for anything but a challenge, as for a payment.
  const passphrase = asked.network_passphrase;
  WebAuth.readChallengeTx(asked.transaction, said("SIGNING_KEY"), passphrase, [domain.host], domain.hostname);
  const challenge = TransactionBuilder.fromXDR(asked.transaction, passphrase);
  challenge.sign(wallet);
  const { data } = await answerChallenge({ ...asking(pool), body: { transaction: challenge.toXDR() } });
  return data.token;
}

/** One KALE of the wallet's first farmer. */
async function withdraw(pool: string, wallet: Keypair): Promise<WithdrawalView> {
  const farmer = asking(pool, await signIn(pool, wallet));
  const own = (await listOwnFarmers(farmer)).data.items[0];
  if (!own) throw new Error("no farmer of this wallet");
  const { data } = await orderWithdrawal({
    ...farmer,
    path: { farmer_id: own.farmer_id },
    headers: { "idempotency-key": randomUUID() },
    body: { asset: "KALE", amount_stroops: "10000000" },
  });
  return data;
}

const pool = process.argv[2]?.replace(/\/$/, "") ?? "";
console.log("share", await mine(pool, process.env.KALEPOOL_API_KEY ?? ""));
const paid = await withdraw(pool, Keypair.fromSecret(process.env.KALEPOOL_WALLET_SECRET ?? ""));
console.log("withdrawal", paid.status, paid.transaction_hash);
