"""What the pool does for its farmers: accounts, plant, work, harvest. Chain + custody + database, and no HTTP.

Only the API process builds a `Context` and with it can sign. `keys` and `poolers` need the database alone.
"""
