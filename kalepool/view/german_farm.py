"""German: the farmers' pages, beyond what german.py has."""

from __future__ import annotations

WORDS: dict[str, str] = {
    # what is wrong with a form
    "“%(typed)s” can be read in two ways: write 1000 or 1000.5, with no sign but a point before decimals": "„%(typed)s“ kann zweierlei heißen: bitte 1000 oder 1000.5 schreiben, ohne Zeichen außer einem Punkt vor den Nachkommastellen",
    "“%(typed)s” is no number: write 1000 or 1000.5, with seven decimals at most": "„%(typed)s“ ist keine Zahl: bitte 1000 oder 1000.5 schreiben, mit höchstens sieben Nachkommastellen",
    "an amount is more than 0": "ein Betrag ist größer als 0",
    "a part is 0 to 100 per cent, and not %(typed)s": "ein Anteil ist 0 bis 100 Prozent und nicht %(typed)s",
    "read the terms, and say that you agree": "bitte die Bedingungen lesen und ihnen zustimmen",
    "a name has at most %(most)s characters": "ein Name hat höchstens %(most)s Zeichen",
    "choose who runs your farmer": "bitte wählen, wer den Farmer betreibt",
    "a signed transaction has at most %(most)s characters; this has %(count)s": "eine unterschriebene Transaktion hat höchstens %(most)s Zeichen; diese hat %(count)s",
    "this farmer leaves: send it nothing more": "dieser Farmer geht: bitte nichts mehr an ihn senden",
    "your wallet has no account on this network yet: it needs XLM first": "die Wallet hat noch kein Konto in diesem Netz: zuerst braucht sie XLM",
    "your wallet has no trustline for KALE, and so no KALE to send: add it first": "die Wallet hat keine Trustline für KALE und damit keine KALE zu senden: bitte erst eine hinzufügen",
    "your wallet has %(held)s %(asset)s to send: %(sum)s are more": "die Wallet hat %(held)s %(asset)s zu senden: %(sum)s sind mehr",
    "the network did not take the payment: %(reason)s": "das Netz hat die Zahlung nicht angenommen: %(reason)s",
    "how much? Write an amount, or take all of it": "wie viel? Bitte einen Betrag schreiben oder alles nehmen",
    "A wallet's address begins with G and has 56 characters: paste all of it.": "Die Adresse einer Wallet beginnt mit G und hat 56 Zeichen: bitte ganz einfügen.",
    "Take this amount": "Diesen Betrag nehmen",
    "%(least)s at least. Who leaves the pool is paid the rest.": "Mindestens %(least)s. Wer den Pool verlässt, bekommt auch den Rest.",
}
