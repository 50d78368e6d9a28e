"""`kalepool up`: start what is not configured elsewhere, watch it, show it, end it.

folder.py      the data folder: one `up` at a time, and where a running one is to be found
supervisor.py  children: started, started again when they die, ended all together
pulse.py       parts that hang: asked, killed, started again
alarms.py      what `up` itself tells operators, whatever the API does
workers.py     `kalepool api --workers`: several API processes, kept running
parts.py       what there is to start, and what each child is told
demo.py        a pooler of our own, and demo farmers with free XLM
follow.py      following the pool, and showing it
report.py      the closing table, and whether it adds up     (pure)
books.py       what the report is made from
run.py         all of it in order
"""
