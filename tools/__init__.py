"""Programs for who works on the project.

check.py    what `make check` runs
"""

from __future__ import annotations
