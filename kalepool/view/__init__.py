"""What the pool is doing, for people: read from the chain and the database, shown in a terminal or as plain lines.

view.py     View: one moment of the pool, and how it is read
screen.py   View -> a picture for a terminal     (pure)
lines.py    View, View -> what to say about it   (pure)
farmer.py   one farmer: found by what somebody calls it, and described
"""
