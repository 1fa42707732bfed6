"""The console of every command: text from outside reaches a terminal as text, and never as markup
or as a command to it; and lines are as wide as whoever reads them can see."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection, Iterable
from typing import IO, TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.segment import Segment

if TYPE_CHECKING:
    from rich.table import Table

    from ...reports.model import Tone

STYLES: dict[Tone, str] = {
    "plain": "",
    "good": "green",
    "caution": "yellow",
    "bad": "red",
    "quiet": "dim",
}

# C0 and C1, where escape sequences begin (ECMA-48, section 5.2 and 5.3); marks that turn the
# direction of text around; line and paragraph separators; halves of a pair, as Python has them for
# bytes of a file's name that are no UTF-8.
_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def foreign(value: object) -> str:
    r"""Text from outside (a path, a name, an error, a prompt) between markup of ours: `[` stays a
    bracket, and what a terminal would obey is spelt, such as `\x1b`."""
    return escape(printable(str(value)))


def printable(text: str) -> str:
    r"""Control characters as Python spells them, line feeds and tabs included."""
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


# Of a file or a pipe: no table is cut and no sentence broken, for `grep` and `less` to work on.
UNBOUNDED = 10_000


def has_width(stream: IO[str]) -> bool:
    """Whether something says how wide lines may be: the terminal, or COLUMNS."""
    return stream.isatty() or os.environ.get("COLUMNS", "").isdigit()


class TerminalConsole(Console):
    """Spells control characters in whatever it prints, so that none is left where `foreign` was
    forgotten. file: standard output where none is given. width: for where nothing says it."""

    def __init__(
        self, *, file: IO[str] | None = None, width: int = UNBOUNDED, **options: Any
    ) -> None:
        stream: IO[str] = file or sys.stdout
        super().__init__(
            highlight=False,
            emoji=False,
            file=stream,
            width=None if has_width(stream) else width,
            **options,
        )

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for one in super().render(renderable, options):
            # Rich's own, which moves the cursor of a progress bar, is no text.
            yield one if one.control else Segment(_printable_lines(one.text), one.style)


def numbers(*titles: str, words: Collection[str] = ()) -> Table:
    """A table without lines whose columns, but for the first, are of numbers. words: titles of
    others that are not."""
    from rich.table import Table

    table = Table(*titles, box=None, pad_edge=False)
    for title, column in list(zip(titles, table.columns, strict=True))[1:]:
        if title not in words:
            column.justify = "right"
    return table


def _printable_lines(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))
