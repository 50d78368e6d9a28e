"""The coordinator's client of the pool's own API, with the pooler's key: plant, work, harvest."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar
from uuid import UUID

import httpx2

from kalepool import tracing
from kalepool.errors import KalepoolError
from kalepool.fencing import HEADER, present_fence


class ApiError(KalepoolError):
    """The API did not do what it was asked. `problem_code` is the code it gave, or says that there was no answer."""

    code: ClassVar[str] = "api"

    def __init__(self, message: str, problem_code: str) -> None:
        super().__init__(message)
        self.problem_code = problem_code


class PoolApi:
    """An async context manager. Every call raises ApiError; all of them may be repeated."""

    def __init__(self, url: str, key: str, pooler_id: UUID, *, timeout_seconds: float) -> None:
        self.pooler_id = pooler_id
        self._client = httpx2.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {key}"},
            timeout=httpx2.Timeout(timeout_seconds, connect=5.0),
            trust_env=False,  # the API is ours; a proxy for the outside world must not see the key
        )

    async def __aenter__(self) -> PoolApi:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def plant(self, index: int, places: int | None, stake_stroops: int | None) -> dict[str, Any]:
        """places: pails of the block at most. stake_stroops: nobody stakes more."""
        body: dict[str, Any] = {"block_index": index, "pooler_id": str(self.pooler_id)}
        if places is not None:
            body["max_farmers"] = places
        if stake_stroops is not None:
            body["stake_stroops"] = str(stake_stroops)
        with tracing.block(self.pooler_id, index), tracing.span("plant", block=index, places=places):
            return await self._post("/plant", **body)

    async def work(self, index: int, submissions: Iterable[tuple[UUID, int]]) -> dict[str, Any]:
        """submissions: (farmer_id, nonce)."""
        listed = [{"farmer_id": str(farmer_id), "nonce": str(nonce)} for farmer_id, nonce in submissions]
        with tracing.block(self.pooler_id, index), tracing.span("work", block=index, farmers=len(listed)):
            return await self._post("/work", block_index=index, pooler_id=str(self.pooler_id), submissions=listed)

    async def harvest(self, targets: Iterable[tuple[int, UUID]] | None) -> dict[str, Any]:
        """targets: (block index, farmer_id); None for all there is of the last day."""
        body: dict[str, Any] = {"pooler_id": str(self.pooler_id)}
        if targets is None:
            with tracing.span("harvest leftovers"):
                return await self._post("/harvest", **body)
        listed = [{"block_index": index, "farmer_id": str(farmer_id)} for index, farmer_id in targets]
        body["targets"] = listed
        newest = max((each["block_index"] for each in listed), default=0)
        with tracing.block(self.pooler_id, newest), tracing.span("harvest", block=newest, pails=len(listed)):
            return await self._post("/harvest", **body)

    async def _post(self, path: str, **body: object) -> dict[str, Any]:
        try:
            fence = present_fence()
            # the API does nothing for a leadership that is over
            headers = ({HEADER: str(fence.number)} if fence else {}) | tracing.carried()
            response = await self._client.post(path, json=body, headers=headers)
            answer = response.json()
        except (httpx2.HTTPError, ValueError) as error:
            raise ApiError(
                f"POST {path}: no usable answer ({type(error).__name__}: {error})", "api-unavailable"
            ) from None
        if response.status_code != 200:
            code = str(answer.get("code", response.status_code))
            raise ApiError(f"POST {path}: {response.status_code} {code}: {answer.get('detail', '')}", code)
        return answer
