// Puts changed parts of the page in place as the server sends them, and counts the seconds between.
"use strict";

const link = document.getElementById("link");
const said = document.getElementById("said");
let verdictSaid = "";
let left = NaN;
let leftAt = 0;

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
  const timer = document.querySelector("[data-left]");
  if (!timer || Number.isNaN(left)) return;
  const seconds = Math.max(0, Math.floor(left - (performance.now() - leftAt) / 1000));
  const text = Math.floor(seconds / 60) + ":" + String(seconds % 60).padStart(2, "0");
  if (timer.textContent !== text) timer.textContent = text;
}

function say(text, lost) {
  link.textContent = text;
  link.classList.toggle("lost", lost);
}

readClock();
readVerdict(false);
setInterval(count, 250);

const events = new EventSource("/events");
events.onopen = () => say("live", false);
events.onerror = () => say("connection lost; this is from " + new Date().toLocaleTimeString(), true);
events.onmessage = (event) => {
  const parts = JSON.parse(event.data);
  for (const [id, html] of Object.entries(parts)) put(id, html);
  if ("clock" in parts) readClock();
  if ("verdict" in parts) readVerdict(true);
  count();
};
