// One core, or the card, of a browser that mines: hashes what it is given, in pieces so short that it hears a stop.
//
// In: {is: "start", card, text, constants}, {is: "job", job}, {is: "stop"}. Out: {is: "ready", rate}, {is: "hashed",
// tried}, {is: "share", jobId, nonce}, {is: "failed", reason}.

import { load, loadGpu } from "/static/mine/search.mjs";

const PIECE_MS = 20; // of hashing, between two looks at what else was said
const TRIAL_MS = 60;
const WINDOW = 2n ** 32n; // nonces that share their high word

let search = null;
let piece = 4096; // nonces that take PIECE_MS
let job = null; // with entropy and farmer as bytes, limit, and from (inclusive) and to (exclusive) as BigInts
let next = 0n;
let prepared = ""; // which job and high word the search has
let hashing = false;

// A task of its own: what came meanwhile is handled first.
const channel = new MessageChannel();
let resume = null;
channel.port1.onmessage = () => resume();
function others() {
  return new Promise((done) => {
    resume = done;
    channel.port2.postMessage(null);
  });
}

// Its speed in hashes/s, by a trial that finds nothing.
async function measure() {
  search.prepare(0, 0, new Uint8Array(32), new Uint8Array(32));
  await search.scan(0, piece, 0n, true); // the first run compiles
  for (;;) {
    const began = performance.now();
    await search.scan(0, piece, 0n, true);
    const took = performance.now() - began;
    if (took >= TRIAL_MS / 2 || piece >= 2 ** 30) return (1000 * piece) / Math.max(took, 0.1);
    piece = Math.ceil(piece * Math.min(Math.max(TRIAL_MS / Math.max(took, 0.1), 2), 16));
  }
}

async function start(message) {
  const bytes = await (await fetch("/static/mine/search.wasm")).arrayBuffer();
  search = await load(bytes);
  if (message.card) {
    search = await loadGpu(search, message.text, message.constants);
    search.device.lost.then((lost) => failed(new Error(lost.message)));
  }
  const rate = await measure();
  piece = Math.max(Math.floor((rate * PIECE_MS) / 1000), 1024);
  postMessage({ is: "ready", rate });
}

// A random place of the worker's part of the range, so that nothing is hashed twice after a reload.
function someNonce(from, to) {
  const random = crypto.getRandomValues(new BigUint64Array(1))[0];
  return from + (random % (to - from));
}

async function hash() {
  hashing = true;
  while (job) {
    const mine = job;
    const high = next / WINDOW;
    const count = Number([BigInt(piece), WINDOW - (next % WINDOW), mine.to - next].reduce((a, b) => (a < b ? a : b)));
    const wanted = `${mine.index} ${mine.entropyHex} ${mine.farmerHex} ${high}`;
    if (prepared !== wanted) {
      search.prepare(mine.index, Number(high), mine.entropy, mine.farmer);
      prepared = wanted;
    }
    const began = performance.now();
    const low = Number(next % WINDOW);
    const found = await search.scan(low, count, mine.limit, true);
    const tried = found ? found.low - low + 1 : count;
    const took = performance.now() - began;
    if (!found) piece = Math.max(Math.min(Math.floor(count * Math.min(PIECE_MS / Math.max(took, 0.1), 4)), 2 ** 30), 1024);
    if (found) postMessage({ is: "share", jobId: mine.jobId, nonce: String(high * WINDOW + BigInt(found.low)) });
    postMessage({ is: "hashed", tried, at: performance.timeOrigin + performance.now() });
    if (job === mine || (job && job.from === mine.from && job.to === mine.to)) {
      next += BigInt(tried);
      if (next >= mine.to) next = mine.from;
    }
    await others();
  }
  hashing = false;
}

function failed(error) {
  job = null;
  postMessage({ is: "failed", reason: (error && error.message) || String(error) });
}

function bytesOf(hex) {
  return Uint8Array.from(hex.match(/../g), (pair) => parseInt(pair, 16));
}

onmessage = ({ data }) => {
  if (data.is === "start") start(data).catch(failed);
  else if (data.is === "stop") job = null;
  else if (data.is === "job") {
    const given = { ...data.job, entropy: bytesOf(data.job.entropyHex), farmer: bytesOf(data.job.farmerHex) };
    if (next < given.from || next >= given.to) next = someNonce(given.from, given.to);
    job = given;
    if (!hashing) hash().catch(failed);
  }
};
