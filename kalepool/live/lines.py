"""What to say of the pool without a terminal: plain lines, when something changed and now and then besides."""

from kalepool.live.view import BlockView, View

STROOPS = 10_000_000
QUIET_SECONDS = 15.0


def kale(stroops: int | None, places: int = 2) -> str:
    """Stroops as KALE, rounded down for reading."""
    if stroops is None:
        return "-"
    scale = 10 ** (7 - places)
    whole, part = divmod(abs(stroops) // scale, 10**places)
    return f"{'-' if stroops < 0 else ''}{whole:,}" + (f".{part:0{places}}" if places else "")


def rate(hashes_per_second: float) -> str:
    """A hashrate with the prefix that fits it."""
    for unit in ("H/s", "kH/s", "MH/s", "GH/s"):
        if hashes_per_second < 1000 or unit == "GH/s":
            return f"{hashes_per_second:.0f} {unit}" if unit == "H/s" else f"{hashes_per_second:.1f} {unit}"
        hashes_per_second /= 1000
    raise AssertionError


def seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} s"


def progress(view: View) -> str:
    """The current block in one line."""
    left = view.seconds_left(view.at)
    best = "-" if view.best_zeros is None else view.best_zeros
    return (
        f"block {'-' if view.index is None else view.index}  {seconds(left)} left  "
        f"planted {view.planted}/{view.active}  worked {view.worked}/{view.planted}  "
        f"{rate(view.hashes_per_second)}  best zeros {best}"
    )


def harvest(block: BlockView) -> str:
    """A block that is over, in one line."""
    said = "given up" if block.status == "given_up" else f"harvested {block.harvested}/{block.planted}"
    return (
        f"block {block.block_index}  {said}  worked {block.worked}/{block.planted}  "
        f"best zeros {'-' if block.best_zeros is None else block.best_zeros}  "
        f"reward {kale(block.rewarded_stroops)} KALE  forecast {kale(block.forecast_stroops)} KALE"
    )


def changes(before: View | None, after: View, quiet_seconds: float) -> list[str]:
    """What to print now. `quiet_seconds`: since the last line was printed."""
    said: list[str] = []
    known = {block.block_index: block for block in before.blocks} if before else {}
    for block in reversed(after.blocks):
        old = known.get(block.block_index)
        if block.is_settled and (old is None or not old.is_settled) and before is not None:
            said.append(harvest(block))
    if before is None or _stage(before) != _stage(after) or quiet_seconds >= QUIET_SECONDS:
        said.append(progress(after))
    return said


def _stage(view: View) -> tuple[int | None, bool, bool]:
    """What is worth a line when it changes: the block, everybody planted, everybody worked."""
    return view.index, view.planted >= view.active > 0, view.worked >= view.planted > 0
