"""What the pool is doing, for people. One moment is read once, and judged once, for the page, the terminal and status.

moment.py       Moment: farmers, the newest blocks, searchers, losses; MomentReader reads it
verdict.py      Moment -> PoolVerdict: whether the stakes are safe, in one word (pure)
history.py      hashrates over the last hour, for the page's chart
pages.py        one block, one farmer, one miner, for their pages
farm.py         one farmer, for its own wallet
mining.py       one miner, for its own key or wallet
wellbeing.py    how the pool is in one sentence, and what waits for an operator's hand
meanings.py     what the page's figures mean
sitting_out.py  whom a block leaves out, and why
reasons.py      why something did not happen: a sentence for each code
webhook_words.py  what pages say of webhooks: types of events, troubles
words.py        pages in the reader's language
german.py       what they say in German
german_page.py  the pages for everybody
german_operators.py  the operators' pages
german_miners.py  the miners'
german_farm.py  the farmers'
german_books.py  the books
german_webhooks.py  webhooks
german_reasons.py  and why something did not happen
screen.py       Moment -> a picture for a terminal                              (pure)
lines.py        Moment, Moment -> what to say about it without a terminal       (pure)
farmer_text.py  one farmer for a terminal: found by what somebody calls it, and described
"""
