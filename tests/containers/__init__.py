"""The images are built and run, as deploy/compose.yaml says: `make test-containers`.

conftest.py          podman with images and networks of its own
compose.py           runs a compose file's services
database.Dockerfile  stands in for the image of PostgreSQL
database-entrypoint  and how that starts
test_compose.py      a block is planted, searched, worked and harvested; a miner mines
"""
