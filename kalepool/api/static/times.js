// Times in the reader's zone and form: those of today without their date. Without this script they are UTC, with it.
// And numbers, as the page's language has them.
"use strict";

const language = document.documentElement.lang;
const locale = navigator.languages.find((each) => each.split("-")[0] === language) ?? (language === "en" ? "en-GB" : language);

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
  return new Intl.DateTimeFormat(locale, form).format(at);
}

function readerTimes(root) {
  for (const time of root.querySelectorAll("time[datetime*='T']")) {
    const at = new Date(time.dateTime);
    time.textContent = readerTime(at, "seconds" in time.dataset);
    time.title = new Intl.DateTimeFormat(locale, { dateStyle: "full", timeStyle: "long" }).format(at);
  }
}

readerTimes(document);
