"""`kalepool farmer`: add, list, show and change farmers, and let them go."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from kalepool.commands.pool import (
    OWN_POOLER,
    AsJson,
    Pooler,
    Yes,
    ask_api,
    confirm,
    find_pooler,
    operate,
    read_settings,
    show,
    show_json,
    with_database_open,
)
from kalepool.config import Settings
from kalepool.database import Database
from kalepool.errors import ConflictError, InputError
from kalepool.names import require_name
from kalepool.services.farmers import FarmerStatus
from kalepool.units import amount, plain

farmer = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Add, list, show and change farmers, and let them go."
)

Called = Annotated[str, typer.Argument(metavar="FARMER", help="Its id, custodial wallet or name: see `farmer list`.")]


@farmer.command("add")
def farmer_add(
    payout_wallet: Annotated[
        str, typer.Argument(help="The address that is paid when the farmer leaves: G…, M… or C….")
    ],
    stake_percentage: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Part of the KALE balance staked in each block: 0.1 is a tenth, 1 is everything (0.1)."
        ),
    ] = None,
    stake_most: Annotated[
        str | None, typer.Option(metavar="KALE", help="The most KALE staked in a block, besides that part.")
    ] = None,
    memo: Annotated[
        str | None, typer.Option(help="A memo that goes with it, as text:…, id:… or hash:…: exchanges ask for one.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="What you call it: a name that no other farmer has.")] = None,
    pooler: Pooler = OWN_POOLER,
    as_json: AsJson = False,
) -> None:
    """Register a farmer: makes its custodial wallet, and says what that has to be funded with."""
    from kalepool.view.farmer_text import farmers_called

    settings = read_settings()
    if name is not None:
        require_name(name)

    async def add(database: Database) -> dict[str, Any]:
        body: dict[str, Any] = {"pooler_id": str(await find_pooler(database, pooler)), "payout_wallet": payout_wallet}
        if memo is not None:
            body["payout_memo"] = memo
        if name is not None:
            for other in await farmers_called(database, name):
                if other.status != FarmerStatus.DEPARTED:
                    raise ConflictError(f"farmer {other.farmer_id} is called {name!r} already: choose another --name")
            body["metadata"] = {"name": name}
        if stake_percentage is not None:
            body["stake_percentage"] = stake_percentage
        if stake_most is not None:
            body["stake_most_stroops"] = stake_limit(stake_most)
        return await ask_api(settings, database, "POST", "/farmers/register", body)

    made = with_database_open(settings, add)
    if as_json:
        show_json(made)
        return
    native = int(made["missing"]["native_stroops"])
    typer.echo(f"farmer_id         {made['farmer_id']}")
    typer.echo(f"custodial_wallet  {made['custodial_wallet']}")
    typer.echo(f"The farmer {made['stake']}.")
    typer.echo(f"Send {native / 10**7:g} XLM to the custodial wallet; the rest follows.")


@farmer.command("list")
def farmer_list(
    pooler: Annotated[str | None, typer.Option("--pooler", help="Only this pooler's.")] = None, as_json: AsJson = False
) -> None:
    """List farmers."""

    from kalepool.services.farmers import list_farmers

    async def read(database: Database) -> list[dict[str, Any]]:
        pooler_id = await find_pooler(database, pooler) if pooler else None
        return await list_farmers(database, pooler_id)

    rows = with_database_open(read_settings(), read)
    if as_json:
        show_json(rows)
        return
    table = Table(box=None, header_style="dim")
    table.add_column("name", no_wrap=True, max_width=24)
    for heading in ("farmer_id", "status", "stake", "custodial_wallet"):
        table.add_column(heading, no_wrap=True)
    for row in rows:
        stake = f"{float(row['stake_percentage']):.1%}"
        if (most := row["stake_most_stroops"]) is not None:
            stake += f", at most {amount(most)}"
        name = Text(plain(str(row["metadata"].get("name") or "-")))
        table.add_row(name, str(row["farmer_id"]), row["status"], stake, row["custodial_wallet"])
    show(table)


@farmer.command("show")
def farmer_show(called: Called, as_json: AsJson = False) -> None:
    """Show a farmer: its wallets, its balances on the chain, how it did, and what it waits for."""
    from kalepool.view.farmer_text import describe, find_farmer

    settings = read_settings()

    async def read(database: Database) -> tuple[dict[str, Any], dict[str, Any] | None]:
        path = f"/farmers/{(await find_farmer(database, called)).farmer_id}"
        found = await ask_api(settings, database, "GET", path)
        goes = found["status"] in (FarmerStatus.LEAVING, FarmerStatus.DEPARTED)
        return found, await ask_api(settings, database, "GET", f"{path}/leave") if goes else None

    found, leaving = with_database_open(settings, read)
    if as_json:
        show_json({**found, "leaving": leaving})
        return
    for name, value in describe(found, leaving):
        typer.echo(f"{name:<16}  {value}")


@farmer.command("set")
def farmer_set(
    called: Called,
    stake_percentage: Annotated[
        float | None, typer.Option(min=0, max=1, help="Part of the KALE balance staked in each block: 0.1 is a tenth.")
    ] = None,
    stake_most: Annotated[
        str | None,
        typer.Option(metavar="KALE", help="The most KALE staked in a block; none for no limit but that part."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Change what a farmer stakes, from the next plant on. It is on record who did."""
    from kalepool.view.farmer_text import find_farmer

    wish: dict[str, Any] = {} if stake_percentage is None else {"stake_percentage": stake_percentage}
    if stake_most is not None:
        wish["stake_most_stroops"] = stake_limit(stake_most)
    if not wish:
        raise InputError("say what to change: --stake-percentage, --stake-most, or both")

    async def change(settings: Settings, database: Database) -> dict[str, Any]:
        path = f"/farmers/{(await find_farmer(database, called)).farmer_id}"
        return await ask_api(settings, database, "PATCH", path, wish)

    changed = operate(change)
    if as_json:
        show_json(changed)
    else:
        typer.echo(f"The farmer {changed['stake']}.")


def stake_limit(text: str) -> str | None:
    """KALE as the API has it: stroops as text, None for `none`. InputError for what is no amount."""
    if text == "none":
        return None
    if not re.fullmatch(r"\d{1,10}(\.\d{1,7})?", text) or not Decimal(text):
        raise InputError(f"--stake-most {text!r} is no amount of KALE: write 25, 0.5 or none")
    return str(int(Decimal(text).scaleb(7)))


@farmer.command("leave")
def farmer_leave(
    called: Called,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Let a farmer go: no plants from now on; after its last harvest everything goes to its payout wallet."""
    from kalepool.view.farmer_text import find_farmer, paid, waits

    settings = read_settings()
    known = with_database_open(settings, lambda database: find_farmer(database, called))
    if not yes:
        name = plain(known.name or str(known.farmer_id))
        typer.echo(
            f"{name} is planted for no more, and after its last harvest all its KALE and XLM go to its payout wallet\n"
            f"{known.payout_wallet}; its custodial wallet is closed. There is no way back."
        )
        confirm(f"Let {name} go?", yes=False)
    path = f"/farmers/{known.farmer_id}/leave"
    found = with_database_open(settings, lambda database: ask_api(settings, database, "POST", path))
    if as_json:
        show_json(found)
        return
    if found["status"] == FarmerStatus.DEPARTED:
        typer.echo(f"It has departed, {paid(found)}.")
        return
    typer.echo(f"It leaves; {waits(found)}.")
    typer.echo(f"It goes on by itself; `kalepool farmer show {known.farmer_id}` says how far it is.")
