"""`kalepool mine`: kalepool/mine/command.py, which also knows what the settings say."""

from __future__ import annotations

import functools
from typing import Any

from kalepool.config import Settings
from kalepool.mine import command


@functools.wraps(command.mine)
def mine(url: str | None = None, key: str | None = None, **options: Any) -> None:
    if url is None or key is None:
        settings = Settings.load()
        url = settings.api_url if url is None else url
        key = settings.api_key.get_secret_value() if key is None and settings.api_key else key
    command.mine(url, key, **options)
