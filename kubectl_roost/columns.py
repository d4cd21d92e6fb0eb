"""Tables of plain text: columns as wide as their widest cell, and no line wider than asked for."""

from collections.abc import Sequence

NOTHING = "-"  # in a cell without a value, so that columns can be counted
BETWEEN = "   "
CUT = ".."  # at the end of a cell that was cut
NARROW = 10  # no column is cut below this


def columns(rows: Sequence[Sequence[str]], width: int | None = None) -> str:
    """Rows, the first of them the heads, with each column as wide as its widest cell.

    With *width* the widest columns are cut until a line has no more characters than that, as far as that goes.
    """
    shown = [[cell or NOTHING for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*shown, strict=True)]
    if width is not None:
        _narrow(widths, width - len(BETWEEN) * (len(widths) - 1))
    lines = (
        BETWEEN.join(_cut(cell, size).ljust(size) for cell, size in zip(row, widths, strict=True)) for row in shown
    )
    return "\n".join(line.rstrip() for line in lines)


def _narrow(widths: list[int], room: int) -> None:
    while sum(widths) > room and max(widths) > NARROW:
        widest = widths.index(max(widths))
        widths[widest] -= 1


def _cut(cell: str, size: int) -> str:
    return cell if len(cell) <= size else cell[: size - len(CUT)] + CUT
