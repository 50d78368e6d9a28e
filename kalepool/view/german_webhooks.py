"""German: webhooks. As german.py."""

from __future__ import annotations

WORDS: dict[str, str] = {
    "Webhooks": "Webhooks",
    "Webhooks: a program of yours is told what happens": "Webhooks: ein eigenes Programm erfährt, was geschieht",
    "A program of yours is told what happens to what is yours: each event is sent to its address as JSON, signed, and again for a day until it is taken.": (
        "Ein eigenes Programm erfährt, was mit dem Eigenen geschieht: Jedes Ereignis geht als JSON an seine Adresse, signiert, und "
        "einen Tag lang immer wieder, bis es angenommen wird."
    ),
    "Programs of yours are told what happens in the pool: each event is sent as JSON, signed, and again for a day until it is taken. docs/webhooks.md says how to receive it.": (
        "Eigene Programme erfahren, was im Pool geschieht: Jedes Ereignis wird als JSON gesendet, signiert, und einen Tag lang "
        "immer wieder, bis es angenommen wird. Wie man es empfängt, steht in docs/webhooks.md."
    ),
    "There is no webhook yet.": "Es gibt noch keinen Webhook.",
    "There may be %(most)s.": "Mehr als %(most)s darf es nicht geben.",
    "Another webhook": "Noch ein Webhook",
    "A webhook": "Ein Webhook",
    "Address of your program": "Adresse des Programms",
    "https, on the internet, at port 443 or from 1024 on. Whoever knows it can send there: check the signature.": (
        "https, im Internet, an Port 443 oder ab 1024. Wer sie kennt, kann dorthin senden: die Signatur prüfen."
    ),
    "https, on the internet, or a server that the settings name. Whoever knows it can send there: check the signature.": (
        "https, im Internet, oder ein Server, den die Einstellungen nennen. Wer sie kennt, kann dorthin senden: die Signatur "
        "prüfen."
    ),
    "Tell it when": "Melden, wenn",
    "Told of everything.": "Gemeldet wird alles.",
    "Told when:": "Gemeldet wird, wenn:",
    "Make the webhook": "Den Webhook anlegen",
    "The secret of the new webhook": "Das Geheimnis des neuen Webhooks",
    "It is shown this once: keep it. What the pool sends is signed with it, and whoever has it can sign as the pool.": (
        "Gezeigt wird es nur jetzt: gut aufheben. Der Pool signiert damit, was er sendet; wer es hat, kann als der Pool signieren."
    ),
    "not taken": "nicht angenommen",
    "taken": "angenommen",
    "waits": "wartet",
    "given up": "aufgegeben",
    "nothing sent yet": "noch nichts gesendet",
    "Next try:": "Nächster Versuch:",
    "Paused since": "Angehalten seit",
    "What happens meanwhile waits, and is given up after a day.": "Was inzwischen geschieht, wartet und wird nach einem Tag aufgegeben.",
    "Last taken:": "Zuletzt angenommen:",
    "Waiting: %(waiting)s. Given up: %(given_up)s.": "Wartend: %(waiting)s. Aufgegeben: %(given_up)s.",
    "Last deliveries": "Die letzten Zustellungen",
    "Tries": "Versuche",
    "Send again": "Noch einmal senden",
    "End this webhook?": "Diesen Webhook beenden?",
    "At once, for good: what waits for it is not sent, and its secret is gone.": (
        "Sofort und für immer: Was darauf wartet, wird nicht gesendet, und sein Geheimnis ist weg."
    ),
    # types of events
    "a block begins": "ein Block beginnt",
    "a block is over": "ein Block vorbei ist",
    "a stake is planted": "ein Einsatz gepflanzt ist",
    "a pail is harvested": "ein Eimer geerntet ist",
    "work was missed: a stake is lost": "Arbeit versäumt wurde: ein Einsatz ist verloren",
    "a miner is paid": "ein Miner bezahlt ist",
    "a payout to a miner is refused": "eine Auszahlung an einen Miner abgelehnt ist",
    "a withdrawal is paid": "eine Auszahlung an einen Farmer bezahlt ist",
    "a withdrawal is refused": "eine Auszahlung an einen Farmer abgelehnt ist",
    "a farmer has left": "ein Farmer gegangen ist",
    "a key is ended": "ein Schlüssel beendet ist",
    "a test": "ein Test",
    # why a delivery was not taken
    "its name leads to no address, or to one that is not on the internet": (
        "der Name führt zu keiner Adresse oder zu einer, die nicht im Internet ist"
    ),
    "this pool sends nothing there any more": "dieser Pool sendet nichts mehr dorthin",
    "its row in the database was changed: delete it and make another": (
        "die Zeile in der Datenbank wurde verändert: löschen und neu anlegen"
    ),
    "no answer within ten seconds": "keine Antwort binnen zehn Sekunden",
    "no connection, or a certificate that does not hold for its name": (
        "keine Verbindung, oder ein Zertifikat, das nicht für den Namen gilt"
    ),
    "the answer was HTTP status %(status)s": "die Antwort war HTTP-Status %(status)s",
    "an error: %(name)s": "ein Fehler: %(name)s",
    # what is wrong with a form
    "choose what it is told of": "auswählen, was gemeldet wird",
    "this is no address: write it as https://host/path": "das ist keine Adresse: sie sieht aus wie https://host/path",
    "an address has at most %(most)s characters, of ASCII, without blanks": (
        "eine Adresse hat höchstens %(most)s Zeichen, aus ASCII, ohne Leerzeichen"
    ),
    "this is no address for a webhook: write it as https://host/path, without user, password or #": (
        "das ist keine Adresse für einen Webhook: sie sieht aus wie https://host/path, ohne Namen, Passwort oder #"
    ),
    "a webhook is an https address on the internet, at port 443 or at one from %(first)s on": (
        "ein Webhook ist eine https-Adresse im Internet, an Port 443 oder einem ab %(first)s"
    ),
    "a webhook is an https address: or let %(setting)s name its server, where it is an inner one": (
        "ein Webhook ist eine https-Adresse; einen inneren Server muss %(setting)s nennen"
    ),
    "a webhook of yours is not told of %(type)s; it may be told of: %(types)s": (
        "von %(type)s erfährt dieser Webhook nichts; möglich sind: %(types)s"
    ),
    "there are %(count)s webhooks, and may be %(most)s: end one first": (
        "es gibt %(count)s Webhooks, und es dürfen %(most)s sein: erst einen beenden"
    ),
    "%(count)s webhooks were made within an hour, the most there can be: try again later": (
        "binnen einer Stunde wurden %(count)s Webhooks angelegt, mehr geht nicht: später wieder versuchen"
    ),
    "this webhook is paused: resume it first": "dieser Webhook ist angehalten: erst fortsetzen",
    "something was sent there by hand less than %(seconds)s s ago: try again later": (
        "vor weniger als %(seconds)s s wurde schon etwas von Hand dorthin gesendet: später wieder versuchen"
    ),
}

COUNTED: dict[str, tuple[str, str]] = {
    "%(num)s try in a row was not taken: %(reason)s.": (
        "%(num)s Versuch wurde nicht angenommen: %(reason)s.",
        "%(num)s Versuche nacheinander wurden nicht angenommen: %(reason)s.",
    ),
}
