"""The miners' pages: sign in with a key or a payout wallet, and join. Whole without a script; mine_account.py is of one
miner."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from kalepool.api import miner_package, sessions
from kalepool.api.auth import Keys, Principal
from kalepool.api.calls import context
from kalepool.api.limits import per_address
from kalepool.api.rendering import PageRoute, go_to, page, words_of
from kalepool.api.routes.browser import sign_in_page
from kalepool.api.routes.farm import signature_in
from kalepool.api.routes.sep10 import sign_in as wallets
from kalepool.api.sessions import AnyVisitor, PageForm, Visitor, signed_in
from kalepool.errors import InputError, NotFoundError
from kalepool.names import MAX_LENGTH
from kalepool.services.keys import Role
from kalepool.services.mining import miners, payout_records, payout_wallets
from kalepool.services.mining.miners import NewMiner
from kalepool.services.signin import addresses
from kalepool.view.reasons import told
from kalepool.view.words import mark

router = APIRouter(include_in_schema=False, route_class=PageRoute)

HOME = "/mine"
ITS_MINERS = signed_in(Role.MINER, Role.FARMER)


async def own_miner(
    request: Request, miner_id: UUID, visitor: AnyVisitor, _: Annotated[Principal, Depends(ITS_MINERS)]
) -> Principal:
    """A dependency: who signed in with this miner's key or payout wallet. Problem 401, 403, NotFoundError."""
    for caller in visitor.principals:
        if miner_id in await miners_of(request, caller):
            return caller
    raise NotFoundError(f"no miner {miner_id} of yours")


async def all_miners_of(request: Request, visitor: Visitor) -> list[UUID]:
    """Of whatever the browser is signed in with: a miner's key, a payout wallet, or both."""
    found = [miner_id for caller in visitor.principals for miner_id in await miners_of(request, caller)]
    return list(dict.fromkeys(found))


async def miners_of(request: Request, caller: Principal) -> list[UUID]:
    """Whom the caller speaks for: a key for its miner, a payout wallet for all that are paid to it."""
    if caller.role == Role.MINER:
        return [caller.subject_id] if caller.subject_id else []
    if caller.role != Role.FARMER or caller.subject_wallet is None:
        return []
    ctx = context(request)
    return await payout_wallets.miners_paid_to(ctx.database, ctx.custody, caller.subject_wallet)


@router.get(HOME)
async def show_mine(request: Request, visitor: AnyVisitor, account: str | None = None) -> Response:
    """Who is not signed in may join or sign in; who is sees its miners. `account`: a wallet that signs elsewhere."""
    found = await all_miners_of(request, visitor)
    if len(found) == 1:
        return go_to(f"{HOME}/{found[0]}")
    if found:
        rows = [await miners.read_miner(context(request).database, miner_id) for miner_id in found]
        return await page(request, "mine/miners.html", miners=rows, wallet=_wallet_of(visitor))
    known = await _welcome(request, visitor)
    known["done"] = request.query_params.get("done") if visitor.principal is None else None
    return await sign_in_page(request, "mine/welcome.html", account, **known)


@router.get("/mine/join")
async def show_join(request: Request, visitor: AnyVisitor, account: str | None = None) -> Response:
    """For who has a miner and wants another, or to sign in for others: /mine shows it the one it has."""
    return await sign_in_page(request, "mine/welcome.html", account, **await _welcome(request, visitor))


def _wallet_of(visitor: Visitor) -> str | None:
    caller = visitor.speaks_as(Role.FARMER)
    return caller.subject_wallet if caller else None


async def _welcome(request: Request, visitor: Visitor) -> dict[str, Any]:
    settings, wallet = context(request).settings, _wallet_of(visitor)
    return {
        "settings": settings,
        "wish": {"name": "", "payout_wallet": wallet or "", "invite": ""},
        "refused": "",
        "wrong_key": "",
        "done": None,
        "wallet": wallet,
        "its_key": visitor.speaks_as(Role.MINER) is not None,
        "has_miners": bool(await all_miners_of(request, visitor)),
        "of_a_megahash": await payout_records.day_of_a_megahash(context(request).database),
        "name_length": MAX_LENGTH,
    }


@router.post("/mine/sign-in")
async def sign_in(request: Request, visitor: AnyVisitor, form: PageForm) -> Response:
    """With a miner's key, or with a challenge that its payout wallet has signed (SEP-10)."""
    ctx = context(request)
    if signature_in(form):
        proven = await wallets(request).answer(ctx, signature_in(form), seconds=ctx.settings.browser_seconds)
    else:
        keys: Keys = request.app.state.keys
        found = await keys.owner(form.get("key", "").strip())
        if found is None or found.role != Role.MINER:
            said = words_of(request).say(mark("This is no miner's key, or it is expired or ended."))
            known = await _welcome(request, visitor) | {"wrong_key": said}
            answer = await sign_in_page(request, "mine/welcome.html", None, **known)
            answer.status_code = 403
            return answer
        proven = found
    answer = go_to(HOME)
    await sessions.sign_in(request, visitor, proven, answer)
    return answer


@router.post("/mine/join")
async def join(request: Request, visitor: AnyVisitor, form: PageForm) -> Response:
    """A miner, and its key: shown this once, by the answer itself. The browser is signed in with it, so that the same
    form sent again makes no second one."""
    ctx = context(request)
    wish = {name: form.get(name, "").strip() for name in ("name", "payout_wallet", "invite")}
    try:
        made = await miners.register(
            *(ctx.database, ctx.custody, ctx.settings),
            wish["name"],
            wish["payout_wallet"] or None,
            wish["invite"] or None,
        )
    except InputError as error:
        known = await _welcome(request, visitor) | {"wish": wish, "refused": told(error, words_of(request))}
        answer = await sign_in_page(request, "mine/welcome.html", None, **known)
        answer.status_code = 422
        return answer
    return await key_page(request, await _signed_in(request, visitor, made), made.miner.miner_id, made.key)


async def _signed_in(request: Request, visitor: Visitor, made: NewMiner) -> Visitor:
    """Whoever signed in with the miner's payout wallet stays so; everybody else is signed in with the new key."""
    caller = visitor.speaks_as(Role.FARMER)
    if caller is not None and caller.subject_wallet is not None and caller.subject_wallet == made.miner.payout_wallet:
        return await sessions.renew(request, visitor, caller.key_id)
    keys: Keys = request.app.state.keys
    owner = await keys.owner(made.key)
    assert owner is not None
    return await sessions.renew(request, visitor, owner.key_id)


async def key_page(request: Request, renewed: Visitor, miner_id: UUID, key: str) -> Response:
    """A key that has just been made, with what to do with it."""
    miner = await miners.read_miner(context(request).database, miner_id)
    answer = await page(request, "mine/key.html", miner=miner, key=key, **how_to_mine(request))
    sessions.keep(request, renewed, answer)
    return answer


def how_to_mine(request: Request) -> dict[str, Any]:
    """What the commands need: where the pool is, and where its miner comes from."""
    settings = context(request).settings
    url = addresses(settings)[0]
    return {"pool_url": url, "package_url": f"{url}/mine/package/{miner_package.NAME}", "settings": settings}


@router.get("/mine/package/{name}", dependencies=[Depends(per_address)])
async def show_package(request: Request, name: str) -> Response:
    """The miner's own package, of this pool's version."""
    if name != miner_package.NAME:
        raise NotFoundError(f"there is no package {name!r}; this pool's is {miner_package.NAME}")
    made = await asyncio.to_thread(miner_package.wheel)
    headers = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
    return Response(made, media_type="application/zip", headers=headers)
