// Has the wallet in this browser sign what a form asks for, and brings a farmer's or miner's page up to date. Without it
// the pages work all the same. Nothing is kept here, and nothing is asked of anybody but the pool.
"use strict";

const wallet = window.freighterApi;
const words = document.getElementById("words");

function said(which, reason) {
  return words.content.querySelector(`[data-is=${which}]`).textContent.replace("{reason}", reason);
}

function say(form, which, reason = "") {
  const place = form.querySelector("[role=status]");
  place.textContent = said(which, reason);
  place.className = which === "waiting" ? "notice busy" : "notice bad";
  place.hidden = false;
}

// The wallet's errors have a message, and so have ours.
class Untrue extends Error {
  constructor(which, reason) {
    super(reason);
    this.which = which;
  }
}

function tell(form, error) {
  say(form, error.which || "refused", (error && error.message) || String(error));
}

// The pool's answers say what is wrong in `detail`: pages in the reader's language, the API in English and by a code.
function reasonOf(problem) {
  const known = words.content.querySelector(`[data-code="${problem.code}"]`);
  return known ? known.textContent : problem.detail;
}

async function ask(path, credentials) {
  const answer = await fetch(path, { credentials, headers: { Accept: "application/json" } })
    .catch(() => { throw new Untrue("lost", ""); });
  const found = await answer.json();
  if (!answer.ok) throw new Untrue("pool", reasonOf(found));
  return found;
}

async function connect(form) {
  if (!(await wallet.isConnected()).isConnected) throw new Untrue("missing", "");
  say(form, "waiting");
  const access = await wallet.requestAccess();
  if (access.error) throw access.error;
  return access.address;
}

async function signed(transaction, address, passphrase) {
  const found = await wallet.signTransaction(transaction, { networkPassphrase: passphrase, address });
  if (found.error) throw found.error;
  return found.signedTxXdr;
}

// As the wallet that is signed in here, whichever the extension has open.
async function signedHere(form, transaction) {
  const address = await connect(form);
  if (address !== form.dataset.wallet) throw new Untrue("other", form.dataset.wallet);
  return signed(transaction, address, form.dataset.passphrase);
}

async function signIn(form) {
  const address = await connect(form);
  const challenge = await ask("/auth?account=" + encodeURIComponent(address), "omit");
  form.elements.transaction.value = await signed(challenge.transaction, address, form.dataset.passphrase);
  form.submit();
}

async function signAndSend(button) {
  const form = button.form;
  form.elements.transaction.value = await signedHere(form, button.dataset.transaction);
  form.requestSubmit();
}

async function deposit(form) {
  const payment = await ask(form.action + "?" + new URLSearchParams(new FormData(form)), "same-origin");
  const sent = form.parentElement.querySelector(".deposited");
  const transaction = await signedHere(form, payment.transaction);
  sent.elements.transaction.value = transaction;
  sent.submit();
}

// Once at a time: a second click asks the wallet for nothing more, and sends nothing again.
function busy(form, is) {
  form.classList.toggle("sent", is);
  for (const button of form.querySelectorAll("button")) button.disabled = is;
}

function once(form, act) {
  if (form.matches(".sent")) return;
  busy(form, true);
  act.catch((error) => { busy(form, false); tell(form, error); });
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  const act = form.id === "sign-in" ? signIn : form.matches(".deposit") ? deposit : null;
  if (act) {
    event.preventDefault();
    if (!form.matches(".sent")) once(form, act(form));
  } else if (form.method === "post") {
    setTimeout(() => busy(form, true));  // after the button's own name has been taken along
  }
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("button.wallet");
  if (button && !button.form.matches(".sent")) once(button.form, signAndSend(button));
});

addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form.sent")) busy(form, false);
});

// What is signed is what was asked for: another amount has to be asked for first.
const toSign = document.getElementById("to-sign");
for (const field of document.querySelectorAll("#amount, #asset")) {
  field.addEventListener("input", () => { if (toSign) toSign.hidden = true; });
}

for (const shown of document.querySelectorAll("#sign-in, button.wallet, .slide [type=range]")) shown.hidden = false;
for (const aside of document.querySelectorAll("form[data-wallet] details")) aside.open = false;

// A slider and the number beside it are one; what they mean in KALE, of what there is now, stands below.
const meanings = [];
for (const slide of document.querySelectorAll(".slide")) {
  const [range, number] = slide.querySelectorAll("input");
  const most = document.getElementById(number.dataset.most || "");
  const mean = () => {
    const figures = document.querySelector("#figures [data-held]");
    if (!figures) return;
    const ceiling = most && typedNumber(most.value) || Infinity;
    const sum = Math.min(Number(figures.dataset.held) / 1e7 * Number(number.value) / 100, ceiling);
    const text = readerNumber(Math.floor(Math.max(sum, 0) * 100) / 100, 2);
    document.getElementById(number.getAttribute("aria-describedby")).textContent = said("stake", text);
  };
  range.addEventListener("input", () => { number.value = range.value; mean(); });
  number.addEventListener("input", () => { range.value = number.value; mean(); });
  if (most) most.addEventListener("input", mean);
  meanings.push(mean);
}

function offerCopies(root) {
  for (const button of root.querySelectorAll("button.copy")) button.hidden = !navigator.clipboard;
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button.copy");
  if (!button) return;
  const from = document.getElementById(button.dataset.of);
  await navigator.clipboard.writeText(from.value || from.textContent);
  button.textContent = button.dataset.done;
});

offerCopies(document);

// Parts of the page are asked for again and again while somebody looks, and put in place where they changed.
const live = document.getElementById("live");
const shown = {};

async function refresh() {
  if (document.hidden) return;
  const parts = await ask(live.dataset.parts, "same-origin");
  for (const [id, html] of Object.entries(parts)) {
    const part = document.getElementById(id);
    if (!part) continue;
    const busy = part.contains(document.activeElement)
      || part.querySelector("form.sent, .notice:not([hidden])[role=status]"); // a form under way is not taken away
    if (html === shown[id] || busy) continue;
    part.innerHTML = html;
    shown[id] = html;
    readerTimes(part);
    offerCopies(part);
    if (id === "figures") for (const mean of meanings) mean();
  }
  document.getElementById("news").hidden = true;
}

function lose() {
  const news = document.getElementById("news");
  news.textContent = said("lost", "");
  news.hidden = false;
}

if (live) {
  const again = () => refresh().catch(lose);
  again();
  setInterval(again, Number(live.dataset.seconds) * 1000);
}
