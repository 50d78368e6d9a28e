"""Writes docs/settings.md from kalepool/config.py: `python -m tools.settings_page`, which `make fix` does too."""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path

from kalepool.shown_settings import Option, options

PAGE = Path(__file__).parent.parent / "docs" / "settings.md"

INTRODUCTION = """# Settings

<!-- Made from kalepool/config.py by `make fix`: change it there. -->

Each is read from the environment, else from a file `.env` in the working directory (`KALEPOOL_ENV_FILE` names another),
else it has its default. A name behind `KALEPOOL_` that is no setting is an error. `kalepool settings` shows what yours
are and where each comes from, without secrets.
"""


def page() -> str:
    """The page as it should be."""
    parts = [INTRODUCTION]
    for heading, group in groupby(options(), key=lambda option: option.heading):
        parts.append(
            f"## {heading}\n\n| setting | default | what it does |\n|---|---|---|\n" + "".join(map(_row, group))
        )
    return "\n".join(parts)


def complaint() -> str:
    """Empty where the page is up to date."""
    written = PAGE.read_text() if PAGE.exists() else ""
    return "" if written == page() else f"docs/{PAGE.name} is not what kalepool/config.py says: `make fix` writes it"


def _row(option: Option) -> str:
    names = ", ".join(f"`{name}`" for name in (option.name, *option.other_names))
    default = f"`{option.default}`" if option.has_default else option.default
    meaning = option.meaning + (f" {option.allowed[0].upper()}{option.allowed[1:]}." if option.allowed else "")
    return f"| {names} | {default} | {meaning.replace('|', chr(92) + '|')} |\n"


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        sys.exit(complaint() or 0)
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page())
