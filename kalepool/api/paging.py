"""Lists by cursor: `?limit=50&after=<next of the page before>`."""

from __future__ import annotations

from typing import Annotated, Generic, TypeVar
from uuid import UUID

from fastapi import Depends, Query
from pydantic import BaseModel, Field

from kalepool.api.models import Described
from kalepool.protocol.model import U32_MAX

Item = TypeVar("Item")


class Page(Described, Generic[Item]):
    """A part of a list, in order. `next` goes into `after` for the following part; null at the end."""

    items: list[Item]
    next: str | None = Field(description="The cursor of the next page; null on the last one.")


class PageParams(BaseModel):
    """Where a page starts and how long it is. `after` is the id of the last item before it; ids grow with time."""

    limit: int
    after: UUID | None

    @classmethod
    def of_query(
        cls,
        limit: Annotated[int, Query(ge=1, le=200, description="How many items at most.")] = 50,
        after: Annotated[UUID | None, Query(description="`next` of the page before.")] = None,
    ) -> PageParams:
        return cls(limit=limit, after=after)


Paging = Annotated[PageParams, Depends(PageParams.of_query)]


class BlockPageParams(BaseModel):
    """As PageParams, of blocks, the newest first. `before`: the page's blocks are below this index."""

    limit: int
    before: int

    @classmethod
    def of_query(
        cls,
        limit: Annotated[int, Query(ge=1, le=200, description="How many blocks at most.")] = 50,
        after: Annotated[int | None, Query(ge=0, le=U32_MAX, description="`next` of the page before.")] = None,
    ) -> BlockPageParams:
        return cls(limit=limit, before=U32_MAX + 1 if after is None else after)

    def next_cursor(self, indexes: list[int]) -> str | None:
        """The cursor after a page of these blocks: None where the page was not full."""
        return str(indexes[-1]) if len(indexes) == self.limit else None


BlockPaging = Annotated[BlockPageParams, Depends(BlockPageParams.of_query)]


def next_cursor(ids: list[UUID], params: PageParams) -> str | None:
    """The cursor after a page with these ids: None where the page was not full."""
    return str(ids[-1]) if len(ids) == params.limit else None
