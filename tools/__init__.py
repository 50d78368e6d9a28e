"""Programs for who works on the project.

audit.py          what `make audit` runs: known vulnerabilities of the dependencies
chart_schemas.py  what Kubernetes would refuse of the Helm chart, for its test
check.py          what `make check` runs
clients.py        clients of the API, generated and compiled
covered.py        what `make test` does last: coverage, held to a floor for each package
names.py          its step that looks for one name of two things
promises.py       what /v1 promises, for its test; adds what is new
settings_page.py  writes docs/settings.md
"""

from __future__ import annotations
