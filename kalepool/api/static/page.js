// Puts changed parts of the page in place as the server sends them, counts the seconds between, and stops both as soon
// as what is shown may be over. Words come with the page: this script has none of its own.
"use strict";

const link = document.getElementById("link");
const said = document.getElementById("said");
const gone = document.getElementById("gone");
let verdictSaid = "";
let left = NaN;
let leftAt = 0;
let readAt = link.dataset.at; // when the pool was read, by its own clock
let newsAt = Date.now(); // when that was last later than before
let lost = "";

// The pool is read once a second while anybody looks, and each reading is told within a few.
const SILENT_MS = 10000;

// As little as possible is replaced: focus, hover, selection and what is open stay.
function morph(from, to) {
  if (from.nodeName !== to.nodeName) {
    from.replaceWith(to);
  } else if (from.nodeType !== Node.ELEMENT_NODE) {
    if (from.data !== to.data) from.data = to.data;
  } else {
    for (const { name } of [...from.attributes]) if (!to.hasAttribute(name)) from.removeAttribute(name);
    for (const { name, value } of to.attributes) if (from.getAttribute(name) !== value) from.setAttribute(name, value);
    morphInside(from, to);
  }
}

function morphInside(from, to) {
  const old = [...from.childNodes];
  const fresh = [...to.childNodes];
  fresh.forEach((node, at) => (at < old.length ? morph(old[at], node) : from.append(node)));
  old.slice(fresh.length).forEach((node) => node.remove());
}

// The focus stays on the link to the same place, wherever that has moved.
function put(id, html) {
  const part = document.getElementById(id);
  if (!part) return;
  const at = document.activeElement;
  const focused = part.contains(at) ? at.getAttribute("href") : null;
  const made = document.createElement("template");
  made.innerHTML = html;
  readerTimes(made.content);
  morphInside(part, made.content);
  if (focused && document.activeElement.getAttribute("href") !== focused) {
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
  if (Date.now() - newsAt > SILENT_MS) lose("silent");
  const timer = document.querySelector("[data-left]");
  if (lost || !timer || Number.isNaN(left)) return;
  const seconds = Math.max(0, Math.floor(left - (performance.now() - leftAt) / 1000));
  const text = Math.floor(seconds / 60) + ":" + String(seconds % 60).padStart(2, "0");
  if (timer.textContent !== text) timer.textContent = text;
}

// What was true is told as the past, with the time of the reading it comes from, and nothing goes on counting.
// `why`: "lost", the connection; "silent", the pool, which is there and tells nothing new.
function lose(why) {
  if (lost) return;
  lost = why;
  const words = gone.dataset[why];
  const at = readerTime(new Date(readAt), true);
  gone.querySelector(".title").textContent = words;
  gone.querySelector(".at").textContent = at;
  gone.querySelector(".was").textContent = document.querySelector("#verdict .title")?.textContent ?? "";
  gone.hidden = false;
  link.textContent = link.dataset[why].replace("{at}", at);
  document.title = words + " · kalepool";
  said.textContent = words;
  document.body.classList.add("lost");
}

function hear() {
  if (lost) {
    verdictSaid = "";
    said.textContent = "";
    gone.hidden = true;
    document.body.classList.remove("lost");
  }
  lost = "";
  link.textContent = link.dataset.live;
}

readClock();
readVerdict(false);
setInterval(count, 250);

// A browser gives up for good where a proxy answers in the pool's place, or the pool has no room: we ask again.
const AGAIN_MS = 10000;

function listen() {
  const events = new EventSource("/events");
  events.onerror = () => {
    lose("lost");
    if (events.readyState === EventSource.CLOSED) setTimeout(listen, AGAIN_MS);
  };
  events.onmessage = (event) => {
    const { at, ...parts } = JSON.parse(event.data);
    const news = at !== readAt;
    if (news) {
      readAt = at;
      newsAt = Date.now();
      hear();
    }
    for (const [id, html] of Object.entries(parts)) put(id, html);
    if ("clock" in parts) readClock();
    if (news) readVerdict("verdict" in parts);
    count();
  };
}

listen();
