// Times in the reader's zone and form: those of today without their date. Without this script they are UTC, with it.
"use strict";

const language = document.documentElement.lang;
const locale = navigator.languages.find((each) => each.split("-")[0] === language) ?? (language === "en" ? "en-GB" : language);

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
