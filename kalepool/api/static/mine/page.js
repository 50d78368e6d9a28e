// The page that mines: begins by a click alone, follows the pool's jobs, has workers hash, and brings what they find.
//
// The key is kept in a variable of this page and nowhere else; it goes nowhere but into the Authorization header.

const FORM = document.getElementById("mine");
const STATUS = document.getElementById("mine-status");
const BUTTON = FORM.elements.go;
const RATE_MS = 10000; // the rate is a mean over this long
const LONGEST_WAIT_MS = 30000;
const STALE_MS = 120000; // a job so far past its end is not worth hashing, even if the pool cannot be reached
const SILENT_MS = 45000; // the pool says something every 15 s
const MOST_WAITING = 500;

const words = document.getElementById("words").content;
const wordOf = (which) => words.querySelector(`[data-is="${which}"]`).textContent;
const say = (which, more = "") => {
  const text = wordOf(which).replace("{more}", more);
  if (STATUS.textContent !== text) STATUS.textContent = text;
  STATUS.dataset.is = which;
  STATUS.className = "notice " + ({ mining: "good", refused: "bad", failed: "bad", problem: "warn" }[which] || "busy");
};
const show = (id, text) => { document.getElementById(id).textContent = text; };

let run = null; // what goes on between a click on start and the end

function rateText(rate) {
  for (const unit of ["H/s", "kH/s", "MH/s"]) {
    if (rate < 1000) return readerNumber(rate, unit === "H/s" ? 0 : 1) + " " + unit;
    rate /= 1000;
  }
  return readerNumber(rate, 1) + " GH/s";
}

// Stroops, a string of digits, as KALE: rounded towards zero, like everywhere.
function kale(stroops) {
  const digits = stroops.padStart(8, "0");
  return readerNumber(Number(digits.slice(0, -7)), 0) + (0.5).toLocaleString(language)[1] + digits.slice(-7, -5);
}

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

// The 32 bytes of an address that are hashed: bytes 1 to 33 of its base32.
function farmerHex(address) {
  const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  let bits = 0n;
  for (const letter of address) bits = bits * 32n + BigInt(letters.indexOf(letter));
  return bits.toString(16).padStart(70, "0").slice(2, 66);
}

class Refused extends Error {}

class Miner {
  constructor(key, options) {
    this.key = key;
    this.options = options; // cores, device: "auto", "cores" or "card"; solo: a farmer of its own, or ""
    this.rig = "browser-" + crypto.getRandomValues(new Uint16Array(1))[0].toString(16).padStart(4, "0");
    this.workers = [];
    this.job = null;
    this.held = new Set(); // why nothing is hashed now: "hidden", "battery"
    this.hashed = []; // [when, hashes]
    this.found = [];
    this.counts = { accepted: 0, refused: 0 };
    this.ended = false;
    this.aborting = new AbortController();
  }

  // ------------------------------------------------------------------------------------------------------------ workers

  async begin() {
    say("measuring");
    const cores = this.options.device === "card" ? [] : await this.open(this.options.cores, false);
    let card = [];
    if (this.options.device !== "cores" && navigator.gpu) {
      try {
        card = await this.open(1, true);
      } catch (error) {
        if (this.options.device === "card") throw error;
      }
    } else if (this.options.device === "card") {
      throw new Refused(wordOf("no-card"));
    }
    const speed = (workers) => workers.reduce((sum, worker) => sum + worker.rate, 0);
    STATUS.dataset.cores = speed(cores); // what was measured, for who looks
    STATUS.dataset.card = speed(card);
    this.onCard = speed(card) > speed(cores);
    const [kept, let_go] = this.onCard ? [card, cores] : [cores, card];
    for (const worker of let_go) worker.terminate();
    this.workers = kept;
    this.speed = speed(kept);
    show("with", this.onCard ? wordOf("card") : wordOf("cores").replace("{more}", kept.length));
    if (this.ended) return this.end();
    this.follow();
    this.bring();
    this.earn();
    this.timer = setInterval(() => this.tick(), 500);
  }

  async open(count, card) {
    const source = card ? await (await fetch("/static/mine/card.json")).json() : {};
    return Promise.all(Array.from({ length: count }, () => new Promise((done, fail) => {
      const worker = new Worker("/static/mine/worker.js", { type: "module" });
      worker.onerror = (event) => fail(new Error(event.message || "worker"));
      worker.onmessage = ({ data }) => {
        if (data.is === "ready") {
          worker.rate = data.rate;
          done(worker);
        } else if (data.is === "hashed") {
          this.hashed.push([performance.now(), data.tried]);
          STATUS.dataset.hashedAt = data.at;
        } else if (data.is === "share") {
          this.found.push({ job_id: data.jobId, nonce: data.nonce });
          if (this.found.length > MOST_WAITING) this.found.shift(); // the oldest is the likeliest to be too late
          if (this.wake) this.wake();
        } else if (data.is === "failed") {
          if (worker.rate === undefined) fail(new Error(data.reason));
          else finish("failed", data.reason);
        }
      };
      this.workers.push(worker);
      worker.postMessage({ is: "start", card, ...source });
    })));
  }

  // Each worker has a part of the rig's nonces.
  give() {
    const { job } = this;
    const going = job && !this.held.size && !this.ended;
    this.workers.forEach((worker, number) => {
      if (!going) return worker.postMessage({ is: "stop" });
      const part = job.count / BigInt(this.workers.length);
      const from = job.start + part * BigInt(number);
      worker.postMessage({ is: "job", job: { ...job, from, to: from + part } });
    });
    if (!going) this.hashed = [];
    this.speak();
  }

  hold(why, held) {
    if (held === this.held.has(why)) return;
    if (held) this.held.add(why);
    else this.held.delete(why);
    this.give();
  }

  speak() {
    if (this.ended) return;
    if (this.problem) say("problem", this.problem);
    else if (this.held.size) say([...this.held][0]);
    else if (!this.connected) say("connecting");
    else say(this.job ? "mining" : "idle");
  }

  // --------------------------------------------------------------------------------------------------------------- jobs

  async follow() {
    let failures = 0;
    while (!this.ended) {
      try {
        await this.listen(() => { failures = 0; });
      } catch (error) {
        if (error instanceof Refused) return finish("refused", error.message);
      }
      this.connected = false;
      failures += 1;
      this.speak();
      await sleep(100 + Math.random() * Math.min(250 * 2 ** failures, 10000));
      if (this.job && Date.now() > this.job.endsAt + STALE_MS) this.setJob(null);
    }
  }

  async listen(heard) {
    const asked = new URLSearchParams({ rig: this.rig });
    const speed = Math.round(this.rate() || this.speed);
    if (speed) asked.set("hashes_per_second", speed);
    if (this.options.solo) asked.set("solo", this.options.solo);
    const silence = new AbortController();
    let timer = setTimeout(() => silence.abort(), SILENT_MS);
    this.aborting.signal.addEventListener("abort", () => silence.abort());
    try {
      const answer = await this.call("GET", "/miner/jobs/stream?" + asked, undefined, silence.signal);
      if (!answer.ok) return await this.refused(answer);
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return undefined;
        clearTimeout(timer);
        timer = setTimeout(() => silence.abort(), SILENT_MS);
        const parts = (text + value).split(/\r?\n\r?\n/);
        text = parts.pop();
        for (const part of parts) {
          const fields = Object.fromEntries(part.split(/\r?\n/).map((line) => {
            const colon = line.indexOf(":");
            return [line.slice(0, colon), line.slice(colon + 1).replace(/^ /, "")];
          }));
          if (!("data" in fields)) continue;
          heard();
          this.connected = true;
          this.problem = "";
          this.setJob(fields.event === "job" ? JSON.parse(fields.data) : null);
        }
      }
    } finally {
      clearTimeout(timer);
      silence.abort();
    }
  }

  setJob(told) {
    this.job = told && {
      jobId: told.job_id,
      index: told.block_index,
      entropyHex: told.entropy,
      farmerHex: farmerHex(told.farmer),
      start: BigInt(told.nonce_start),
      count: BigInt(told.nonce_count),
      limit: BigInt("0x" + told.target) - 1n,
      // By a wrong clock it would be over, or never: it cannot last longer than the whole block.
      endsAt: Date.now() + Math.min(
        Math.max(Date.parse(told.closes_at) - Date.now(), 0), Date.parse(told.closes_at) - Date.parse(told.starts_at),
      ),
    };
    if (told) show("block", told.block_index + (told.solo ? " SOLO" : ""));
    this.give();
  }

  // ------------------------------------------------------------------------------------------------------------- shares

  async bring() {
    while (!this.ended) {
      if (!this.found.length) await new Promise((wake) => { this.wake = wake; });
      const shares = this.found.splice(0, 100);
      if (!shares.length) continue;
      const key = crypto.randomUUID ? crypto.randomUUID() : String(crypto.getRandomValues(new BigUint64Array(1))[0]);
      for (let failures = 1; !this.ended; failures += 1) { // without an answer the same is sent again, and counts once
        try {
          const answer = await this.call("POST", "/miner/shares", { shares }, undefined, { "Idempotency-Key": key });
          if (answer.ok) {
            for (const { outcome } of (await answer.json()).results) {
              this.counts[outcome === "accepted" ? "accepted" : "refused"] += 1;
            }
            break;
          }
          await this.refused(answer);
        } catch (error) {
          if (error instanceof Refused) return finish("refused", error.message);
          await sleep(100 + Math.random() * Math.min(250 * 2 ** failures, 5000));
        }
      }
      show("accepted", this.counts.accepted);
      show("refused", this.counts.refused);
    }
  }

  async earn() {
    while (!this.ended) {
      try {
        const answer = await this.call("GET", "/miner/balance");
        if (answer.ok) {
          const balance = await answer.json();
          for (const name of ["earned", "due", "paid"]) show(name, kale(balance[name + "_stroops"]));
        }
      } catch { /* the next one will tell */ }
      await sleep(30000);
    }
  }

  // --------------------------------------------------------------------------------------------------------------- HTTP

  call(method, path, body, signal = this.aborting.signal, headers = {}) {
    return fetch(path, {
      method,
      signal,
      credentials: "omit",
      cache: "no-store",
      headers: {
        Authorization: "Bearer " + this.key, ...(body ? { "Content-Type": "application/json" } : {}), ...headers,
      },
      body: body && JSON.stringify(body),
    });
  }

  // Says why, and waits as told. Throws Refused where the pool itself says that waiting does not help.
  async refused(answer) {
    let problem = {};
    try {
      problem = await answer.json();
    } catch { /* a proxy's */ }
    const ours = String(problem.type).startsWith("urn:kalepool:problem:");
    const known = ours && words.querySelector(`[data-code="${problem.code}"]`);
    const text = known ? known.textContent : ours ? `${problem.title}: ${problem.detail}` : `${answer.status}`;
    const wait = Number(answer.headers.get("Retry-After")) * 1000;
    if (ours && ([401, 404, 405, 422].includes(answer.status) || (answer.status === 403 && !wait))) throw new Refused(text);
    this.problem = text;
    if (problem.code === "banned") this.setJob(null);
    this.speak();
    await sleep(Math.min(wait || 5000, LONGEST_WAIT_MS));
  }

  // --------------------------------------------------------------------------------------------------------------- rate

  rate() {
    const since = performance.now() - RATE_MS;
    while (this.hashed.length && this.hashed[0][0] < since) this.hashed.shift();
    if (!this.hashed.length) return 0;
    const sum = this.hashed.reduce((all, [, hashes]) => all + hashes, 0);
    return (1000 * sum) / Math.max(performance.now() - this.hashed[0][0], 1000);
  }

  tick() {
    show("rate", rateText(this.rate()));
    if (this.job && !this.connected && Date.now() > this.job.endsAt + STALE_MS) this.setJob(null);
  }

  end() {
    this.ended = true;
    this.aborting.abort();
    clearInterval(this.timer);
    for (const worker of this.workers) worker.terminate();
    if (this.wake) this.wake();
    show("rate", rateText(0));
  }
}

// ---------------------------------------------------------------------------------------------------------------- wishes

let battery = null;
let lock = null;

function obey() {
  if (!run) return;
  run.hold("hidden", FORM.elements.hidden_stops.checked && document.visibilityState === "hidden");
  run.hold("battery", FORM.elements.battery_stops.checked && battery !== null && !battery.charging);
  keepAwake();
}

// A phone that falls asleep hides the page. Not every browser can be asked to stay awake.
async function keepAwake() {
  try {
    if (run && document.visibilityState === "visible") lock = await navigator.wakeLock.request("screen");
    else if (lock) await lock.release();
  } catch { /* it falls asleep, then */ }
}

function finish(which, more = "") {
  if (!run) return;
  run.end();
  run = null;
  say(which, more);
  FORM.classList.remove("going");
  BUTTON.textContent = BUTTON.dataset.start;
  for (const name of ["key", "solo", "cores", "device"]) setDisabled(FORM.elements[name], false);
  keepAwake();
}

function setDisabled(field, disabled) {
  if (field instanceof RadioNodeList) field.forEach((each) => { each.disabled = disabled; });
  else field.disabled = disabled;
}

function go() {
  const key = FORM.elements.key.value.trim();
  if (!/^[\x21-\x7e]+$/.test(key)) {
    FORM.elements.key.focus();
    return say("no-key");
  }
  const solo = FORM.elements.solo.value.trim();
  if (!/^[0-9A-Za-z-]*$/.test(solo)) {
    FORM.elements.solo.focus();
    return say("no-farmer");
  }
  run = new Miner(key, { cores: Number(FORM.elements.cores.value), device: FORM.elements.device.value, solo });
  FORM.classList.add("going");
  BUTTON.textContent = BUTTON.dataset.stop;
  for (const name of ["key", "solo", "cores", "device"]) setDisabled(FORM.elements[name], true);
  obey();
  const begun = run;
  begun.begin().catch((error) => {
    if (run === begun) finish(error instanceof Refused ? "refused" : "failed", error.message);
  });
}

FORM.addEventListener("submit", (event) => {
  event.preventDefault();
  if (run) finish("stopped");
  else go();
});

const cores = navigator.hardwareConcurrency || 1;
FORM.elements.cores.max = cores;
FORM.elements.cores.value = cores;
const tellCores = () => { FORM.elements.shown_cores.value = FORM.elements.cores.value; };
FORM.elements.cores.addEventListener("input", tellCores);
tellCores();
for (const name of ["hidden_stops", "battery_stops"]) FORM.elements[name].addEventListener("change", obey);
document.addEventListener("visibilitychange", obey);
window.addEventListener("pagehide", () => { FORM.elements.key.value = ""; });
if (navigator.getBattery) {
  navigator.getBattery().then((found) => {
    battery = found;
    document.getElementById("battery").hidden = false;
    battery.addEventListener("chargingchange", obey);
    obey();
  }, () => {});
}
if (!("gpu" in navigator)) document.getElementById("devices").hidden = true;
BUTTON.disabled = false;
