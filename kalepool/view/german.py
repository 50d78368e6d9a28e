"""German. By the English text; `COUNTED` by the one of the form for one: (for one, for all others)."""

from __future__ import annotations

from kalepool.view import german_operators, german_page

WORDS: dict[str, str] = {
    # every page
    "Skip to the content": "Zum Inhalt",
    "Pages": "Seiten",
    "This block": "Dieser Block",
    "My farm": "Meine Farm",
    "Find": "Finden",
    "Find a block, a wallet or a miner": "Einen Block, eine Wallet oder einen Miner finden",
    "block, wallet, miner": "Block, Wallet, Miner",
    "Language": "Sprache",
    "Amounts are in KALE; rewards are without the stake. What is shown here is public on the chain, or the pool's own.": (
        "Beträge sind in KALE, Erträge ohne den Einsatz. Was hier steht, ist auf der Chain öffentlich oder Sache des Pools."
    ),
    "This did not work": "Das hat nicht geklappt",
    "Try again": "Noch einmal versuchen",
    "Back to this block": "Zurück zu diesem Block",
    "None yet.": "Noch keine.",
    # signing in and out
    "Sign in": "Anmelden",
    "Signed in as %(name)s": "Angemeldet als %(name)s",
    "Sign out": "Abmelden",
    "Sign out everywhere": "Überall abmelden",
    "Sign in with your wallet": "Mit der Wallet anmelden",
    "Your wallet signs a message that moves nothing and costs nothing. The pool never sees your key.": (
        "Die Wallet unterschreibt eine Nachricht, die nichts bewegt und nichts kostet. Den Schlüssel sieht der Pool nie."
    ),
    "Connect Freighter": "Freighter verbinden",
    "Freighter is not in this browser. Install it from freighter.app, or sign somewhere else below.": (
        "Freighter ist nicht in diesem Browser. Es gibt ihn auf freighter.app; oder anderswo unterschreiben, siehe unten."
    ),
    "Your wallet asks you to sign: look at its window.": "Die Wallet bittet um eine Unterschrift: siehe ihr Fenster.",
    "The wallet did not sign: %(reason)s": "Die Wallet hat nicht unterschrieben: %(reason)s",
    "Another wallet": "Eine andere Wallet",
    "Any wallet that signs a transaction will do, a hardware wallet or one without a browser among them.": (
        "Es geht mit jeder Wallet, die eine Transaktion unterschreibt, auch mit einer Hardware-Wallet oder ohne Browser."
    ),
    "Address of your wallet (G…)": "Adresse der Wallet (G…)",
    "Show what it has to sign": "Zeigen, was zu unterschreiben ist",
    "Sign this transaction, and do not send it to the network": (
        "Diese Transaktion unterschreiben und nicht ans Netz senden"
    ),
    "The signed transaction": "Die unterschriebene Transaktion",
}

COUNTED: dict[str, tuple[str, str]] = {}

WORDS |= german_page.WORDS | german_operators.WORDS
COUNTED |= german_page.COUNTED | german_operators.COUNTED
