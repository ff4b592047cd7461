"""What is wrong with captures that somebody brought: where, what was found, what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rangefinder.errors import CaptureError, RangefinderError

SHOWN = 10  # problems that an error lists; `rangefinder check` lists all


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        table: The table it stands in.
        row: Line of the table, the header being 1; 0: the table as a whole.
        image: What the row's image column says.
        found: What is wrong, and what was found.
        todo: What to do about it.
        is_fatal: Whether the row cannot be used; otherwise it is worth a look.
    """

    table: str
    row: int
    image: str
    found: str
    todo: str
    is_fatal: bool = True

    @classmethod
    def of(cls, table: str, row: int, image: str, error: RangefinderError) -> Problem:
        """The problem that an error tells of."""
        return cls(table, row, image, error.finding, error.todo)

    def __str__(self) -> str:
        """As in: captures.csv, row 3 (a.jpg): what was found. What to do."""
        place = f"{self.table}, row {self.row}" if self.row else self.table
        name = f" ({self.image})" if self.image else ""
        return f"{place}{name}: {self.found.rstrip('.')}. {self.todo}".rstrip()


def refuse(problems: Sequence[Problem], skip: str) -> None:
    """End on problems that cannot be lived with.

    Args:
        problems: What was found; those that are not fatal are passed over.
        skip: How to go on without the rows they are about.

    Raises:
        CaptureError: Listing them.
    """
    fatal = [problem for problem in problems if problem.is_fatal]
    if not fatal:
        return
    listed = "\n  ".join(str(problem) for problem in fatal[:SHOWN])
    rest = f"\n  ... and {len(fatal) - SHOWN} more" if len(fatal) > SHOWN else ""
    count = "one problem" if len(fatal) == 1 else f"{len(fatal)} problems"
    raise CaptureError(f"captures cannot be imported, {count}:\n  {listed}{rest}\n{skip}")
