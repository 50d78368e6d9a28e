"""What a page asks once more before something is done that cannot be undone at will."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fastapi import Request, Response

from kalepool.api.rendering import page


@dataclass(frozen=True)
class Question:
    """What is asked before something is done. `text` and `follows` are shown in the reader's language, with `names`."""

    text: str
    follows: str
    back: str
    names: dict[str, object] = field(default_factory=dict)
    is_grave: bool = False


async def asked(request: Request, form: Mapping[str, str], question: Question) -> Response | None:
    """The page that asks; None where it has been answered with yes."""
    if form.get("sure") == "yes":
        return None
    return await page(request, "sure.html", question=question, action=request.url.path, fields=form)
