// Has the wallet in this browser sign what a form asks for, and sends the form. Without it the pages work all the same.
"use strict";

const wallet = window.freighterApi;

function say(form, which, reason = "") {
  const place = form.querySelector("[role=status]");
  const text = document.getElementById("words").content.querySelector(`[data-is=${which}]`).textContent;
  place.textContent = text.replace("{reason}", reason);
  place.className = which === "waiting" ? "notice busy" : "notice bad";
  place.hidden = false;
}

function reasonOf(error) {
  return (error && error.message) || String(error);
}

// Problem answers of the API say what is wrong in `detail`.
async function challengeFor(address) {
  const answer = await fetch("/auth?account=" + encodeURIComponent(address), { credentials: "omit" });
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.detail);
  return said.transaction;
}

async function signed(transaction, address, passphrase) {
  const found = await wallet.signTransaction(transaction, { networkPassphrase: passphrase, address });
  if (found.error) throw found.error;
  return found.signedTxXdr;
}

async function signIn(form) {
  if (!(await wallet.isConnected()).isConnected) return say(form, "missing");
  say(form, "waiting");
  const access = await wallet.requestAccess();
  if (access.error) throw access.error;
  form.elements.transaction.value = await signed(
    await challengeFor(access.address), access.address, form.dataset.passphrase,
  );
  form.submit();
}

const entry = document.getElementById("sign-in");
if (entry) {
  entry.hidden = false;
  entry.addEventListener("submit", (event) => {
    event.preventDefault();
    signIn(entry).catch((error) => say(entry, "refused", reasonOf(error)));
  });
}
