// Puts changed parts of the page in place as the server sends them, and counts the seconds between.
"use strict";

const link = document.getElementById("link");
const said = document.getElementById("said");
let verdictSaid = "";
let left = NaN;
let leftAt = 0;
let heardAt = Date.now();
let lost = false;

// The server says something at least this often, if only that it is still there.
const SILENT_MS = 25000;

// The part's focus stays where it was: on the link to the same place, or on the part itself.
function put(id, html) {
  const part = document.getElementById(id);
  if (!part) return;
  const focused = part.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  part.innerHTML = html;
  if (focused) {
    const again = [...part.querySelectorAll("a")].find((a) => a.getAttribute("href") === focused);
    if (again) again.focus({ preventScroll: true });
  }
}

function readClock() {
  const timer = document.querySelector("[data-left]");
  left = timer ? Number(timer.dataset.left) : NaN;
  leftAt = performance.now();
}

function readVerdict(aloud) {
  const verdict = document.querySelector("[data-said]");
  if (!verdict || verdict.dataset.said === verdictSaid) return;
  verdictSaid = verdict.dataset.said;
  document.title = verdictSaid + " · kalepool";
  if (aloud) said.textContent = verdictSaid;
}

function count() {
  if (!lost && Date.now() - heardAt > SILENT_MS) lose();
  const timer = document.querySelector("[data-left]");
  if (lost || !timer || Number.isNaN(left)) return;
  const seconds = Math.max(0, Math.floor(left - (performance.now() - leftAt) / 1000));
  const text = Math.floor(seconds / 60) + ":" + String(seconds % 60).padStart(2, "0");
  if (timer.textContent !== text) timer.textContent = text;
}

// What is shown may be over: it says since when, and nothing goes on counting.
function lose() {
  lost = true;
  link.textContent = "connection lost; this is from " + new Date(heardAt).toLocaleTimeString();
  document.title = "Connection lost · kalepool";
  document.body.classList.add("lost");
}

function hear() {
  heardAt = Date.now();
  if (lost) {
    verdictSaid = "";
    readVerdict(false);
  }
  lost = false;
  link.textContent = "live";
  document.body.classList.remove("lost");
}

readClock();
readVerdict(false);
setInterval(count, 250);

const events = new EventSource("/events");
events.onerror = () => { if (!lost) lose(); };
events.onmessage = (event) => {
  hear();
  const parts = JSON.parse(event.data);
  for (const [id, html] of Object.entries(parts)) put(id, html);
  if ("clock" in parts) readClock();
  if ("verdict" in parts) readVerdict(true);
  count();
};
