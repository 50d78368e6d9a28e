"""German: the pages for everybody. As german.py."""

from __future__ import annotations

WORDS: dict[str, str] = {
    # the verdict
    "This block: %(title)s. %(detail)s": "Dieser Block: %(title)s. %(detail)s",
    "Chain does not answer": "Die Chain antwortet nicht",
    "The node is silent: what is shown here may be old.": "Der Knoten schweigt: Was hier steht, kann alt sein.",
    "The first block has not begun.": "Der erste Block hat noch nicht begonnen.",
    "Farm paused": "Farm angehalten",
    "The KALE contract takes no plants.": "Der KALE-Vertrag nimmt nichts an.",
    "Paused, safe to stop": "Angehalten, kann beendet werden",
    "Nothing is planted or on its way, and all that was planted is worked.": (
        "Nichts wird gepflanzt oder ist unterwegs, und alles Gepflanzte ist bearbeitet."
    ),
    "Paused by the operator": "Vom Betreiber angehalten",
    "Nothing is planted. What was planted before is worked and harvested as ever.": (
        "Nichts wird gepflanzt. Was vorher gepflanzt war, wird wie immer bearbeitet und geerntet."
    ),
    "Nobody takes part yet.": "Noch nimmt niemand teil.",
    "No farmers": "Keine Farmer",
    "Sits out": "Setzt aus",
    "Between blocks": "Zwischen zwei Blöcken",
    "The next block begins with the next plant.": "Der nächste Block beginnt mit der nächsten Pflanzung.",
    "Not planted": "Nicht gepflanzt",
    "%(kale)s KALE of stakes": "%(kale)s KALE Einsätze",
    "%(some)s of %(all)s": "%(some)s von %(all)s",
    "%(count)s planted farmers not worked and no time left: %(risk)s may be lost.": (
        "%(count)s gepflanzten Farmern nicht bearbeitet, und keine Zeit mehr: %(risk)s können verloren sein."
    ),
    "At risk": "In Gefahr",
    "Nobody is mining": "Niemand rechnet",
    "%(risk)s at risk.": "%(risk)s in Gefahr.",
    "Shares missing": "Shares fehlen",
    "%(count)s planted farmers still to be worked: %(risk)s at risk.": (
        "%(count)s gepflanzten Farmern noch zu bearbeiten: %(risk)s in Gefahr."
    ),
    "Closing": "Gleich zu Ende",
    "%(count)s planted farmers to be worked before the end. Works go out late on purpose.": (
        "%(count)s gepflanzten Farmern vor dem Ende zu bearbeiten. Das geschieht mit Absicht spät."
    ),
    "Nothing more is planted; %(course)s": "Nichts mehr wird gepflanzt; %(course)s",
    "On course": "Auf Kurs",
    "%(all)s: no stake of this block is at risk. Nobody searches for the next one's.": (
        "%(all)s: kein Einsatz dieses Blocks ist in Gefahr. Für die des nächsten sucht niemand."
    ),
    "Starting": "Fährt hoch",
    "The workers are on their way: %(count)s planted farmers to be worked.": (
        "Die Rechner sind unterwegs: %(count)s gepflanzten Farmern zu bearbeiten."
    ),
    "Safe, not whole": "Sicher, nicht vollständig",
    "%(all)s. No stake of this block is at risk.": "%(all)s. Kein Einsatz dieses Blocks ist in Gefahr.",
    "Safe": "Sicher",
    # this block
    "live": "live",
    "as of": "Stand",
    "connection lost; this is from %(at)s": "keine Verbindung; dies ist von %(at)s",
    "no news; this is from %(at)s": "nichts Neues; dies ist von %(at)s",
    "Connection lost": "Keine Verbindung",
    "The pool gives no news": "Der Pool meldet nichts Neues",
    "What is shown was read at %(at)s, when it was: %(verdict)s. It may be over.": (
        "Was hier steht, ist von %(at)s; da war es: %(verdict)s. Das kann vorbei sein."
    ),
    "Block %(index)s": "Block %(index)s",
    "left": "übrig",
    "Time of this block that has passed": "Vergangene Zeit dieses Blocks",
    "No block yet.": "Noch kein Block.",
    "of %(all)s": "von %(all)s",
    "to": "bis",
    "hours": "Stunden",
    "Farmers in this block": "Farmer in diesem Block",
    "Every farmer in this block, those that lack something first": (
        "Alle Farmer in diesem Block, zuerst die, denen etwas fehlt"
    ),
    "Zeros count between %(low)s and %(high)s, the block's bounds": (
        "Nullen zählen zwischen %(low)s und %(high)s, den Grenzen des Blocks"
    ),
    "worked": "bearbeitet",
    "share found": "Share gefunden",
    "no share": "kein Share",
    "leaving": "geht",
    "not planted": "nicht gepflanzt",
    "plants itself": "pflanzt selbst",
    "waits for XLM": "wartet auf XLM",
    "waits for %(amount)s XLM": "wartet auf %(amount)s XLM",
    "waits for %(amount)s KALE": "wartet auf %(amount)s KALE",
    "is let in": "wird zugelassen",
    "No farmer takes part yet.": "Noch nimmt kein Farmer teil.",
    "Hashrate by worker and miner over the last hour.": "Hashrate nach Worker und Miner in der letzten Stunde.",
    "Now %(now)s; over this time from %(least)s to %(most)s.": "Jetzt %(now)s; in dieser Zeit %(least)s bis %(most)s.",
    "now": "jetzt",
    "%(minutes)s min ago": "vor %(minutes)s min",
    "%(seconds)s s ago": "vor %(seconds)s s",
    "The picture begins with the first minute of samples. Now:": "Das Bild beginnt mit der ersten Minute. Jetzt:",
    "Nobody has searched within the last hour.": "In der letzten Stunde hat niemand gerechnet.",
    "Rewards": "Erträge",
    "Rewards by block.": "Erträge nach Blöcken.",
    "The first harvest comes when a block is over.": "Die erste Ernte kommt, wenn ein Block vorbei ist.",
    "Blocks": "Blöcke",
    "The newest blocks": "Die neuesten Blöcke",
    "lost %(count)s": "%(count)s verloren",
    "Recent events": "Was zuletzt geschah",
    "Recent events, the newest first": "Was zuletzt geschah, das Neueste zuerst",
    "planted %(kale)s": "gepflanzt %(kale)s",
    "harvested %(kale)s": "geerntet %(kale)s",
    "Nothing yet.": "Noch nichts.",
    "on the block explorer": "im Block-Explorer",
    # one block, farmer, miner
    "given up": "aufgegeben",
    "finished": "abgeschlossen",
    "On the chain": "Auf der Chain",
    "Began": "Begann",
    "ledgers": "Ledger",
    "Entropy": "Entropie",
    "Every farmer that took part in block %(index)s": "Alle Farmer, die an Block %(index)s teilnahmen",
    "Plant": "Pflanzung",
    "Work": "Arbeit",
    "Harvest": "Ernte",
    "None of the pool's farmers took part.": "Kein Farmer des Pools nahm teil.",
    "registered": "angemeldet",
    "active": "aktiv",
    "departed": "gegangen",
    "The farmer's newest blocks": "Die neuesten Blöcke des Farmers",
    "Shares count for the credits of twelve blocks; a block's credits are due when it is final and three blocks old.": (
        "Shares zählen für die Gutschriften von zwölf Blöcken; die eines Blocks sind fällig, wenn er endgültig "
        "und drei "
        "Blöcke alt ist."
    ),
    "Not paid lately: %(why)s.": "Zuletzt nicht bezahlt: %(why)s.",
    "The miner's newest blocks; its part is of all that was hashed, by the pool's own workers too": (
        "Die neuesten Blöcke des Miners; sein Anteil ist an allem, was gerechnet wurde, auch von den Workern des Pools"
    ),
    # found, or not
    "Called “%(words)s”": "„%(words)s“ heißen",
    "Nothing is called “%(words)s”": "Nichts heißt „%(words)s“",
    "A block is found by its number, a farmer by its custodial wallet (G…), a miner by its name or its id's end.": (
        "Ein Block wird nach seiner Nummer gefunden, ein Farmer nach seiner Verwahr-Wallet (G…), ein Miner "
        "nach seinem Namen oder dem Ende seiner Kennung."
    ),
    "Payout wallets are not shown in public.": "Auszahlungs-Wallets werden nicht öffentlich gezeigt.",
    "Sign in with yours to see your farmers": "Mit der eigenen anmelden und die eigenen Farmer sehen",
    "Not found": "Nicht gefunden",
    "Sorry, %(what)s.": "Leider %(what)s.",
    "there is nothing at this address": "ist unter dieser Adresse nichts",
    "block %(index)s is not in our records": "steht Block %(index)s nicht in unseren Aufzeichnungen",
    "there is no farmer %(id)s": "gibt es keinen Farmer %(id)s",
    "there is no miner %(id)s": "gibt es keinen Miner %(id)s",
    # what figures mean
    "Planted": "Gepflanzt",
    "Farmers whose stake is in this block, of those that take part. A stake comes back with the harvest.": (
        "Farmer, deren Einsatz in diesem Block ist, von denen, die teilnehmen. Der Einsatz kommt mit der Ernte zurück."
    ),
    "Worked": "Bearbeitet",
    "Planted farmers of whom a work is on the chain. Who is not worked when the block ends loses its stake.": (
        "Gepflanzte Farmer, deren Arbeit auf der Chain ist. Wer am Ende des Blocks nicht bearbeitet ist, "
        "verliert den Einsatz."
    ),
    "Harvested": "Geerntet",
    "Farmers that got stake and reward of the last block back. It begins when the next block does.": (
        "Farmer, die Einsatz und Ertrag des letzten Blocks zurück haben. Es beginnt mit dem nächsten Block."
    ),
    "Unworked stakes": "Unbearbeitet",
    "KALE of this block's farmers that are not worked yet: what is lost if the pool stops now.": (
        "KALE der Farmer dieses Blocks, die noch nicht bearbeitet sind: verloren, wenn der Pool jetzt stehen bleibt."
    ),
    "Hashrate": "Hashrate",
    "Hashes a second, of the pool's own workers and all miners together, over the last seconds.": (
        "Hashes in der Sekunde, von den Workern des Pools und allen Minern zusammen, in den letzten Sekunden."
    ),
    "Zeros": "Nullen",
    "XLM lasts": "XLM reicht",
    "How long the pool's XLM lasts at the last day's network fees. Without it nothing is planted.": (
        "Wie lange das XLM des Pools bei den Netzgebühren des letzten Tages reicht. Ohne XLM wird nichts gepflanzt."
    ),
    "How far the farmer is in this block: planted, with a share, worked; or why not.": (
        "Wie weit der Farmer in diesem Block ist: gepflanzt, mit Share, bearbeitet; oder warum nicht."
    ),
    "Found": "Gefunden",
    "Leading zeros of the best hash that was found for the farmer in this block.": (
        "Führende Nullen des besten Hashes, der in diesem Block für den Farmer gefunden wurde."
    ),
    "Leading zeros of the work that is on the chain. It goes out late: a longer gap brings more.": (
        "Führende Nullen der Arbeit auf der Chain. Sie geht spät hinaus: Ein größerer Abstand bringt mehr."
    ),
    "Zeros against the bounds": "Nullen gegen die Grenzen",
    "The bar is what was handed in, the tick what was found, the band the block's bounds.": (
        "Der Balken ist, was abgegeben wurde, der Strich, was gefunden wurde, das Band die Grenzen des Blocks."
    ),
    "Gap": "Abstand",
    "Ledgers between the plant and the work. The longer, the larger the reward.": (
        "Ledger zwischen Pflanzung und Arbeit. Je mehr, desto größer der Ertrag."
    ),
    "KALE that was planted. It comes back with the harvest if the farmer is worked.": (
        "KALE, das gepflanzt wurde. Es kommt mit der Ernte zurück, wenn der Farmer bearbeitet ist."
    ),
    "Forecast": "Vorhersage",
    "The reward in KALE if the block ended as it stands, by the contract's own rule.": (
        "Der Ertrag in KALE, wenn der Block so endete, wie er steht, nach der Regel des Vertrags."
    ),
    "Reward": "Ertrag",
    "KALE that was minted for the work, without the stake. The pool's part is still in it.": (
        "KALE, das für die Arbeit geprägt wurde, ohne den Einsatz. Der Anteil des Pools ist noch darin."
    ),
    "Staked": "Eingesetzt",
    "KALE that the pool's farmers planted in this block.": "KALE, das die Farmer des Pools in diesem Block pflanzten.",
    "Staked in all": "Insgesamt eingesetzt",
    "KALE that was planted in all blocks together; each stake counts once a block.": (
        "KALE, das in allen Blöcken gepflanzt wurde; jeder Einsatz zählt einmal je Block."
    ),
    "Rewarded in all": "Insgesamt erhalten",
    "KALE that was minted for all of the farmer's works, without the stakes.": (
        "KALE, das für alle Arbeiten des Farmers geprägt wurde, ohne die Einsätze."
    ),
    "Best zeros": "Meiste Nullen",
    "Leading zeros of the farmer's best work, in any block.": (
        "Führende Nullen der besten Arbeit des Farmers, in allen Blöcken."
    ),
    "Blocks in which the farmer's stake was planted.": "Blöcke, in denen der Einsatz des Farmers gepflanzt war.",
    "Blocks in which a work for the farmer reached the chain.": (
        "Blöcke, in denen eine Arbeit für den Farmer die Chain erreichte."
    ),
    "Blocks of which the farmer has stake and reward back.": (
        "Blöcke, von denen der Farmer Einsatz und Ertrag zurück hat."
    ),
    "When it last asked for a job or brought a share.": (
        "Wann er zuletzt nach einem Job fragte oder einen Share brachte."
    ),
    "Earned": "Verdient",
    "KALE that was credited for shares so far.": "KALE, das bisher für Shares gutgeschrieben wurde.",
    "Due": "Fällig",
    "KALE that was credited and is not on its way: it is paid from the miner's threshold on.": (
        "KALE, das gutgeschrieben und nicht unterwegs ist: Es wird ab der Schwelle des Miners bezahlt."
    ),
    "On its way": "Unterwegs",
    "KALE in a payment that no ledger has confirmed yet.": "KALE in einer Zahlung, die noch kein Ledger bestätigt hat.",
    "Paid": "Bezahlt",
    "KALE that ledgers have paid out so far.": "KALE, das Ledger bisher ausgezahlt haben.",
    "Shares": "Shares",
    "Hashes with enough zeros that were brought and accepted.": (
        "Hashes mit genug Nullen, die gebracht und angenommen wurden."
    ),
    "Refused": "Abgelehnt",
    "SOLO": "SOLO",
    "Shares for a farmer of the miner's own alone. They are in no part; the pool takes its service fee only.": (
        "Shares allein für einen Farmer des Miners selbst. Sie zählen zu keinem Anteil; der Pool nimmt nur seine "
        "Servicegebühr."
    ),
    "Shares that came too late, twice, or without enough zeros.": (
        "Shares, die zu spät, doppelt oder ohne genug Nullen kamen."
    ),
    "Hashes": "Hashes",
    "How many hashes the accepted shares take on average: what credits are reckoned by.": (
        "Wie viele Hashes die angenommenen Shares im Schnitt brauchen: danach wird gutgeschrieben."
    ),
    "Of all hashes of this block, the pool's own workers' too.": (
        "An allen Hashes des Blocks, auch denen der Worker des Pools."
    ),
}

COUNTED: dict[str, tuple[str, str]] = {
    "worked, %(num)s zero": ("bearbeitet, %(num)s Null", "bearbeitet, %(num)s Nullen"),
    "%(kale)s KALE over %(num)s block, without stakes.": (
        "%(kale)s KALE in %(num)s Block, ohne Einsätze.",
        "%(kale)s KALE in %(num)s Blöcken, ohne Einsätze.",
    ),
    "Block %(index)s lost %(num)s stake, %(kale)s KALE": (
        "Block %(index)s verlor %(num)s Einsatz, %(kale)s KALE",
        "Block %(index)s verlor %(num)s Einsätze, %(kale)s KALE",
    ),
    "None of %(num)s farmer is planted in this block.": (
        "Keiner von %(num)s Farmer ist in diesem Block gepflanzt.",
        "Keiner von %(num)s Farmern ist in diesem Block gepflanzt.",
    ),
    "All %(num)s farmer planted are worked": (
        "%(num)s gepflanzter Farmer ist bearbeitet",
        "Alle %(num)s gepflanzten Farmer sind bearbeitet",
    ),
    "%(num)s farmer registered; below is what each waits for.": (
        "%(num)s Farmer angemeldet; unten steht, worauf er wartet.",
        "%(num)s Farmer angemeldet; unten steht, worauf jeder wartet.",
    ),
    "%(num)s farmer to plant.": ("%(num)s Farmer zu pflanzen.", "%(num)s Farmer zu pflanzen."),
    "%(num)s farmer without a share, ": ("%(num)s Farmer ohne Share, ", "%(num)s Farmer ohne Share, "),
    "%(num)s farmer without any share after half the block: %(risk)s.": (
        "%(num)s Farmer ohne Share nach dem halben Block: %(risk)s.",
        "%(num)s Farmer ohne Share nach dem halben Block: %(risk)s.",
    ),
    "All %(planted)s planted are worked; %(num)s farmer could not plant.": (
        "Alle %(planted)s gepflanzten sind bearbeitet; %(num)s Farmer konnte nicht pflanzen.",
        "Alle %(planted)s gepflanzten sind bearbeitet; %(num)s Farmer konnten nicht pflanzen.",
    ),
}
