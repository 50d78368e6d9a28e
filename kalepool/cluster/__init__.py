"""Search workers on a Ray cluster: one per node with all its cores, one per GPU.

messages.py   what coordinator and workers tell each other
worker.py     runs on the nodes: threads, kernels, the standing job
placement.py  which workers a node gets: for its cores, for each card
members.py    runs in the coordinator: keeps a worker in every place, spreads the job, takes the reports
claims.py     whether what a worker says can be true
fleet.py      the only file that talks to Ray
ray.json      Ray's own settings, of the whole cluster
"""
