"""Programs for who works on the project.

check.py          what `make check` runs
names.py          its step that looks for one name of two things
settings_page.py  writes docs/settings.md
"""

from __future__ import annotations
