"""What `kalepool up` tells operators itself, over the same webhook: of parts that do not work, the API among them.

Kept in memory: database and API may be what does not work.
"""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import UTC, datetime

from kalepool.config import Settings
from kalepool.services.alerts import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, Notice, Webhook

MOST_WAITING = 100  # the oldest are dropped


class Alarms:
    """Says once that something is wrong, and once that it is over. Without a webhook nobody is told."""

    def __init__(self, settings: Settings) -> None:
        """Raises ConfigError for a webhook that cannot work."""
        self._webhook = Webhook(settings) if settings.alert_webhook is not None else None
        self._open: dict[str, Notice] = {}
        self._waiting: deque[Notice] = deque(maxlen=MOST_WAITING)
        self._news = asyncio.Event()

    def raise_(self, kind: str, key: str, message: str) -> None:
        """Something is wrong. The same key is told once until it is resolved."""
        if key not in self._open:
            self._open[key] = Notice(kind, key, message, False, datetime.now(UTC))
            self._tell(self._open[key])

    def resolve(self, key: str) -> None:
        """It is over, if it was."""
        if raised := self._open.pop(key, None):
            self._tell(Notice(raised.kind, key, raised.message, True, datetime.now(UTC)))

    def _tell(self, notice: Notice) -> None:
        if self._webhook is not None:
            self._waiting.append(notice)
            self._news.set()

    async def run(self) -> None:
        """Sends what is to be told, in its order, until cancelled. A webhook that fails is left alone for a while."""
        pause = 0.0
        while self._webhook is not None:
            await self._news.wait()
            self._news.clear()
            while self._waiting:
                notice = self._waiting[0]
                taken, wait = await self._webhook.post(notice)
                if taken:
                    pause = 0.0
                    if self._waiting and self._waiting[0] is notice:  # else it was dropped meanwhile
                        self._waiting.popleft()
                else:
                    pause = min(max(2 * pause, FIRST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
                    await asyncio.sleep(max(wait, pause))
