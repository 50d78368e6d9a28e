"""Search workers on a Ray cluster: one per node with its cores, one per GPU.

messages.py     what coordinator and workers tell each other
worker.py       runs on the nodes: threads, kernels, the standing job
placement.py    which workers a node gets: for its cores, for each card
members.py      runs in the coordinator: keeps a worker in every place, spreads the job, takes the reports
claims.py       what a worker says, read from bytes, and whether it can be true
plain_bytes.py  nothing that a worker says is unpickled
fleet.py        talks to Ray: connects, lists places, starts workers
ray.json        Ray's own settings, of the whole cluster
"""
