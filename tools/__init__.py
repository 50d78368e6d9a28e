"""Programs for who works on the project.

check.py          what `make check` runs
settings_page.py  writes docs/settings.md
"""

from __future__ import annotations
