"""Programs for who works on the project.

check       what `make check` runs
names       its step that looks for one name of two things
"""

from __future__ import annotations
