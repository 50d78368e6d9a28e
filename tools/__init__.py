"""Programs for who works on the project.

check       what `make check` runs
"""

from __future__ import annotations
