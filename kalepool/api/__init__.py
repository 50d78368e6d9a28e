"""The REST API and custody process.

app.py        create_app: opens everything, and brings the routers together
server.py     serve: the process
leading.py    which of several processes leads: what that one alone has and does
forwarding.py   what the others pass on to it, and to each other
routes/       the endpoints, one router an audience
straight.py   the call that comes hundreds of times a second
calls.py      what every router needs for a call
auth.py       keys, roles, Principal
sessions.py   browsers that are signed in: who they are, and what their forms are held to
cookies.py    what browsers keep
rendering.py  a page from its template, in the reader's language
gzipped.py    answers that are compressed
limits.py     requests a minute, and at the same time
bodies.py     how large and how late a body may be
connections.py  how many connections there may be, and how late a head
proxies.py    trusted proxies, and their clients
head.py       HEAD wherever GET works
versions.py   /v1, and what ends
description.py  the OpenAPI description: names of operations, examples
problems.py   errors as application/problem+json
typed.py      what people type into forms
questions.py  what a page asks once more before it is done
models.py     types that several routers share
webhook_shapes.py  what webhooks are sent: the views of the API
paging.py     lists in pages
file_formats.py  rows as CSV, JSON and NDJSON, a page at a time
sse.py        messages to all who look, compressed once
charts.py     the page's charts as SVG
miner_package.py  the miner as a wheel, of this pool's own files
qr.py         QR codes, and links that wallets open
templates/    the page's HTML
static/       its style and script, and the API's description
"""

from __future__ import annotations

from kalepool.api.app import create_app
from kalepool.api.server import serve

__all__ = ["create_app", "serve"]
