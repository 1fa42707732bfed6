"""How matplotlib is set while a figure is made and saved; afterwards it is as it was."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# The same chart gives the same file; text stays text, so that it can be found and edited; and a
# name with dollars in it, which others chose, is a name and no formula.
_SETTINGS: dict[Any, Any] = {
    "svg.hashsalt": "llmbench",
    "svg.fonttype": "none",
    "text.parse_math": False,
}
# matplotlib leaves out of a legend what begins with `_`, so such a name begins with this there.
_SHIELD = "\N{ZERO WIDTH SPACE}"


@contextmanager
def on_paper() -> Iterator[None]:
    """Around the making of texts as well as the saving: each text keeps what held when it was
    made."""
    with matplotlib.rc_context(_SETTINGS):
        yield


def legend_name(name: str) -> str:
    """The label of what is drawn, which `add_legend` writes as `name`, whatever it begins with."""
    return f"{_SHIELD}{name}" if name.startswith("_") else name


def add_legend(figure: Figure, drawn: Iterable[Axes], **style: Any) -> None:
    """Of everything in these axes that has a label, once each: panels share what they draw."""
    named: dict[tuple[str, type], Any] = {}
    for axes in drawn:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            named.setdefault((label, type(handle)), handle)
    labels = [label for label, _ in named]
    for text in figure.legend(list(named.values()), labels, **style).get_texts():
        text.set_text(text.get_text().removeprefix(_SHIELD))
