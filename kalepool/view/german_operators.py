"""German: the operators' pages. As german.py."""

from __future__ import annotations

WORDS: dict[str, str] = {
    # keys and invitations
    "Invitations of miners": "Einladungen für Miner",
    "Give this to whom you invite. It is shown this once:": "Für die Eingeladenen. Gezeigt wird es nur jetzt:",
    "Invitations that may be used": "Einladungen, die gelten",
    "For whom": "Für wen",
    "Uses left": "Noch übrig",
    "Until": "Bis",
    "Days": "Tage",
    "Make an invitation": "Eine Einladung machen",
    "All keys": "Alle Schlüssel",
    "Role": "Rolle",
    "ended": "beendet",
    "may be used": "gilt",
    "End the key %(key)s?": "Den Schlüssel %(key)s beenden?",
    "At once, for good: whoever uses it is refused, and browsers signed in with it are signed out.": (
        "Sofort und für immer: wer ihn benutzt, wird abgewiesen, und damit angemeldete Browser werden abgemeldet."
    ),
    "End the invitation?": "Die Einladung beenden?",
    "Nobody registers with it any more. Who has, stays.": "Niemand tritt mehr damit bei. Wer es tat, bleibt.",
    # signing in
    "Operator": "Betreiber",
    "For operators": "Für Betreiber",
    "The wallet has to be on this pool's list of operators. It signs a message that moves nothing and costs nothing.": (
        "Die Wallet muss auf der Betreiberliste dieses Pools stehen. Sie unterschreibt eine Nachricht, die "
        "nichts bewegt und "
        "nichts kostet."
    ),
    "Sign in with a key": "Mit einem Schlüssel anmelden",
    "An operator's key, as `kalepool operator add` prints it. This browser keeps a session in its place, never "
    "the key.": (
        "Der Schlüssel eines Betreibers, wie ihn `kalepool operator add` ausgibt. Der Browser behält dafür "
        "eine Sitzung, nie "
        "den Schlüssel."
    ),
    "Operator's key": "Schlüssel des Betreibers",
    "an operator's key": "ein Betreiberschlüssel",
    # where to go
    "Now": "Jetzt",
    "Farmers": "Farmer",
    "Poolers": "Pooler",
    "Miners": "Miner",
    "Journal": "Journal",
    "Money": "Geld",
    "Settings": "Einstellungen",
    "Audit": "Protokoll",
    "More": "Mehr",
    "Show": "Zeigen",
    "None.": "Keine.",
    "Nothing.": "Nichts.",
    "all": "alle",
    # asked once more
    "Are you sure?": "Sicher?",
    "Yes, do it": "Ja, ausführen",
    "No, back": "Nein, zurück",
    "Pause planting?": "Pflanzen anhalten?",
    "Nothing more is planted. What is planted is worked and harvested as ever.": (
        "Es wird nichts mehr gepflanzt. Was gepflanzt ist, wird wie immer bearbeitet und geerntet."
    ),
    "Resume planting?": "Weiter pflanzen?",
    "Every active farmer's stake is planted again from now on.": (
        "Ab jetzt wird wieder der Einsatz jedes aktiven Farmers gepflanzt."
    ),
    "Change the pooler?": "Den Pooler ändern?",
    "%(field)s becomes %(value)s, from now on. What is planted is worked and harvested as ever.": (
        "%(field)s wird %(value)s, ab jetzt. Was gepflanzt ist, wird wie immer bearbeitet und geerntet."
    ),
    "Ban miner %(name)s for %(hours)s hours?": "Miner %(name)s für %(hours)s Stunden sperren?",
    "Its shares and requests for jobs are refused until then. What it has earned stays its own.": (
        "Bis dahin werden seine Shares und Anfragen abgelehnt. Was er verdient hat, bleibt seins."
    ),
    "Lift the ban of miner %(name)s?": "Sperre von Miner %(name)s aufheben?",
    "It may mine again at once, with a clean slate.": "Er darf sofort wieder arbeiten, ohne Vorgeschichte.",
    "Book this transaction as %(status)s in ledger %(ledger)s?": (
        "Diese Transaktion als %(status)s in Ledger %(ledger)s buchen?"
    ),
    "What you say is booked for good. A withdrawal that failed is paid again: look its hash up in an explorer.": (
        "Was hier gesagt wird, ist endgültig gebucht. Eine gescheiterte Auszahlung wird noch einmal bezahlt: "
        "den Hash in einem "
        "Explorer nachsehen."
    ),
    "Go on without the transactions that are missing here?": "Ohne die fehlenden Transaktionen weitermachen?",
    "Money is paid out again. A withdrawal that is open here is paid then, unless you name it as paid.": (
        "Es wird wieder ausgezahlt. Eine hier offene Auszahlung wird dann bezahlt, wenn sie nicht als bezahlt "
        "genannt ist."
    ),
    "Is this stake lost?": "Ist dieser Einsatz verloren?",
    "It is booked as lost, and owed to its farmer.": "Er wird als verloren gebucht und dem Farmer geschuldet.",
    "Has this stake come back?": "Ist dieser Einsatz zurückgekommen?",
    "It is booked as harvested: nothing is owed.": "Er wird als geerntet gebucht: nichts ist geschuldet.",
    "Mark as paid with transaction %(hash)s?": "Mit Transaktion %(hash)s als bezahlt vermerken?",
    "The pool sends nothing: it asks the ledger for that transaction, and writes it down.": (
        "Der Pool sendet nichts: Er fragt das Ledger nach dieser Transaktion und vermerkt sie."
    ),
    "Book %(amount)s KALE from %(credit)s to %(debit)s?": "%(amount)s KALE von %(credit)s nach %(debit)s buchen?",
    "One more entry, for good. No KALE moves; what is whose does.": (
        "Eine weitere Buchung, endgültig. Kein KALE bewegt sich; nur, wem was gehört."
    ),
    # now
    "Every part works": "Alles läuft",
    "Every part works. %(verdict)s": "Alles läuft. %(verdict)s",
    "Planting": "Pflanzen",
    "paused": "angehalten",
    "goes on": "läuft",
    "Reason, for the audit": "Grund, fürs Protokoll",
    "Pause planting": "Pflanzen anhalten",
    "Resume planting": "Weiter pflanzen",
    "Safe to stop now.": "Der Pool kann jetzt angehalten werden.",
    "Not safe to stop yet: something is planted and not worked, or on its way.": (
        "Noch nicht anhalten: Etwas ist gepflanzt und nicht bearbeitet, oder unterwegs."
    ),
    "What waits for a hand": "Was auf eine Hand wartet",
    "Settle a transaction: %(action)s": "Eine Transaktion klären: %(action)s",
    "Transactions are missing in this database": "In dieser Datenbank fehlen Transaktionen",
    "The books are not as the chain says": "Die Bücher stimmen nicht mit der Chain überein",
    "Parts": "Teile",
    "Parts of the pool": "Teile des Pools",
    "Part": "Teil",
    "State": "Zustand",
    "Since": "Seit",
    "Detail": "Einzelheiten",
    # farmers, poolers, miners
    "Name, wallet or id": "Name, Wallet oder Id",
    "Farmers called so": "So genannte Farmer",
    "All farmers": "Alle Farmer",
    "Farmer": "Farmer",
    "Name": "Name",
    "Stake": "Einsatz",
    "Payout wallet": "Auszahlungs-Wallet",
    "Pooler": "Pooler",
    "All poolers": "Alle Pooler",
    "Registration": "Anmeldung",
    "Waiting": "Wartend",
    "Owed": "Geschuldet",
    "Last seen": "Zuletzt gesehen",
    "Make inactive": "Stilllegen",
    "Make active": "Wieder zulassen",
    "open": "offen",
    "closed": "geschlossen",
    "Close": "Schließen",
    "Open": "Öffnen",
    "Resume": "Weiter",
    "Pause": "Anhalten",
    "All miners": "Alle Miner",
    "Banned miners": "Gesperrte Miner",
    "Only those banned": "Nur gesperrte",
    "Miner": "Miner",
    "Bans": "Sperren",
    "Ban": "Sperren",
    "banned": "gesperrt",
    "until": "bis",
    "Lift the ban": "Sperre aufheben",
    "Hours of the ban of %(name)s": "Stunden der Sperre von %(name)s",
    "reason": "Grund",
    "Reason for the ban of %(name)s": "Grund der Sperre von %(name)s",
    # journal
    "What only an explorer knows": "Was nur ein Explorer weiß",
    "The RPC server has forgotten these before their outcome was known, and the ledger does not tell. Look "
    "each up, and say what "
    "became of it.": (
        "Der RPC-Server hat diese vergessen, bevor ihr Ausgang bekannt war, und das Ledger sagt ihn nicht. "
        "Jede nachsehen und "
        "sagen, was daraus wurde."
    ),
    "What this database does not have": "Was diese Datenbank nicht hat",
    "A ledger has these transactions of the pool's accounts. Until an operator has looked them up, nothing is "
    "paid out.": (
        "Diese Transaktionen der Pool-Konten stehen in einem Ledger. Bis ein Betreiber sie nachgesehen hat, "
        "wird nichts "
        "ausgezahlt."
    ),
    "What you found, for the audit": "Was gefunden wurde, fürs Protokoll",
    "Withdrawals that are open here and were paid, by their ids": (
        "Auszahlungen, die hier offen sind und bezahlt wurden, mit ihren Ids"
    ),
    "Go on in spite of them": "Trotzdem weitermachen",
    "Action": "Aktion",
    "Transactions": "Transaktionen",
    "Time": "Zeit",
    "Ledger": "Ledger",
    "Fee, XLM": "Gebühr, XLM",
    "Transaction": "Transaktion",
    "Say what became of it": "Sagen, was daraus wurde",
    "Look its hash up in an explorer that has all ledgers.": (
        "Den Hash in einem Explorer nachsehen, der alle Ledger hat."
    ),
    "The ledger says": "Das Ledger sagt",
    "Settle": "Klären",
    "Hash": "Hash",
    "Made": "Gemacht",
    "Valid until": "Gültig bis",
    "Source": "Quelle",
    "Result": "Ergebnis",
    "What it does": "Was sie tut",
    "Block": "Block",
    "Amount": "Betrag",
    "To": "An",
    # money
    "The pool's part": "Anteil des Pools",
    "To miners of it": "Davon an Miner",
    "Network fees, XLM": "Netzgebühren, XLM",
    "Treasury": "Kasse",
    "Harvests, the pool's part and fees are of the last 24 hours; the treasury is as it is now.": (
        "Ernten, Anteil des Pools und Gebühren sind die der letzten 24 Stunden; die Kasse ist die von jetzt."
    ),
    "The treasury is": "Die Kasse ist",
    "Lost stakes that are not settled": "Verlorene Einsätze, die nicht geklärt sind",
    "Why": "Warum",
    "What is to be done": "Was zu tun ist",
    "It is lost": "Er ist verloren",
    "It came back": "Er kam zurück",
    "transaction that paid": "Transaktion der Zahlung",
    "Hash of the transaction that paid for block %(index)s": (
        "Hash der Transaktion, die für Block %(index)s bezahlt hat"
    ),
    "Mark as paid": "Als bezahlt vermerken",
    "Books": "Bücher",
    "The books in sums, in KALE; together they are nothing": "Die Bücher in Summen, in KALE; zusammen sind sie null",
    "Kind": "Art",
    "Accounts": "Konten",
    "held against the chain": "mit der Chain verglichen",
    "not explained": "nicht erklärt",
    "not as the chain says": "nicht wie auf der Chain",
    "Correct the books": "Die Bücher berichtigen",
    "From the account": "Vom Konto",
    "To the account": "Auf das Konto",
    "Stroops": "Stroops",
    "Book it": "Buchen",
    # settings and audit
    "As the API has them. Secrets stay hidden. `kalepool settings` tells where each comes from; "
    "docs/settings.md, how to change "
    "it.": (
        "Wie die API sie hat. Geheimes bleibt verborgen. `kalepool settings` sagt, woher jede kommt; "
        "docs/settings.md, wie man "
        "sie ändert."
    ),
    "set": "gesetzt",
    "What operators did": "Was Betreiber getan haben",
    "What operators did, the newest first; nobody can change it": (
        "Was Betreiber getan haben, das Neueste zuerst; niemand kann es ändern"
    ),
    "Who": "Wer",
    "What": "Was",
    "Of whom": "An wem",
}

COUNTED: dict[str, tuple[str, str]] = {
    "%(num)s entry": ("%(num)s Buchung", "%(num)s Buchungen"),
    "%(num)s part needs a look": ("%(num)s Teil braucht einen Blick", "%(num)s Teile brauchen einen Blick"),
    "%(num)s lost stake to check": ("%(num)s verlorener Einsatz zu prüfen", "%(num)s verlorene Einsätze zu prüfen"),
    "%(num)s lost stake is owed": ("%(num)s verlorener Einsatz geschuldet", "%(num)s verlorene Einsätze geschuldet"),
    "%(num)s miner seems to hold back what it finds": (
        "%(num)s Miner hält anscheinend zurück, was er findet",
        "%(num)s Miner halten anscheinend zurück, was sie finden",
    ),
}
