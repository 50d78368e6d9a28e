"""Browsers: signed out again, on every page where they can sign in."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from kalepool.api import sessions
from kalepool.api.rendering import PageRoute, go_to
from kalepool.api.sessions import AnyVisitor, PageForm
from kalepool.services.keys import Role

router = APIRouter(include_in_schema=False, route_class=PageRoute)

HOMES = {Role.FARMER: "/farm", Role.OPERATOR: "/operator"}
"""Where who signed out, or has nothing to do where it is, goes by its role."""


@router.post("/sign-out")
async def sign_out(request: Request, visitor: AnyVisitor, form: PageForm) -> Response:
    """This browser; with the field `everywhere`, every other of the same wallet or key too."""
    home = HOMES.get(visitor.principal.role, "/") if visitor.principal else "/"
    answer = go_to(home)
    await sessions.sign_out(request, visitor, answer, everywhere="everywhere" in form)
    return answer
