// Times in the reader's zone and form: those of today without their date. Without this script they are UTC, with it.
// And numbers, as the page's language has them.
"use strict";

const language = document.documentElement.lang;
const locale = navigator.languages.find((each) => each.split("-")[0] === language) ?? (language === "en" ? "en-GB" : language);

// To make a formatter takes longer than all else here: a table of fifty times needs two or three of them.
const formatters = new Map();
function format(at, form) {
  const key = JSON.stringify(form);
  if (!formatters.has(key)) formatters.set(key, new Intl.DateTimeFormat(locale, form));
  return formatters.get(key).format(at);
}

// A number with so many decimals, in the form of the page's language.
function readerNumber(value, places) {
  return value.toLocaleString(language, { minimumFractionDigits: places, maximumFractionDigits: places });
}

// A number as it is typed in the page's language; NaN where it is none.
function typedNumber(text) {
  const point = (1.5).toLocaleString(language)[1];
  return Number(text.replaceAll(point === "," ? "." : ",", "").replace(point, "."));
}

function readerTime(at, seconds) {
  const now = new Date();
  const form = { hour: "2-digit", minute: "2-digit" };
  if (seconds) form.second = "2-digit";
  if (at.toDateString() !== now.toDateString()) Object.assign(form, { day: "numeric", month: "short" });
  if (at.getFullYear() !== now.getFullYear()) form.year = "numeric";
  return format(at, form);
}

function readerTimes(root) {
  for (const time of root.querySelectorAll("time[datetime*='T']")) {
    const at = new Date(time.dateTime);
    time.textContent = readerTime(at, "seconds" in time.dataset);
    time.title = format(at, { dateStyle: "full", timeStyle: "long" });
  }
}

readerTimes(document);
