"""What stands for a character that the encoding of a terminal does not have: no command ends of
it, after an hour perhaps, and no number is read as another."""

from __future__ import annotations

import codecs

HANDLER = "llmbench.plain"

_PLAIN = {
    **dict.fromkeys("\u00a0\u202f", " "),
    **dict.fromkeys("–—−", "-"),
    **dict.fromkeys("“”", '"'),
    **dict(zip("▁▂▃▄▅▆▇█", "12345678", strict=True)),
    **dict(zip("×✕µ·•≈│─▲▼", "xxu-*~|-^v", strict=True)),
    **dict(zip("…→±✓≤≠", ("...", "->", "+-", "ok", "<=", "!="), strict=True)),
}


def plain(error: UnicodeError) -> tuple[str, int]:
    r"""For `codecs`: what is ours as ASCII writes it, anything else as Python spells it, `\xfc`."""
    assert isinstance(error, UnicodeEncodeError), "for what is written"
    found = error.object[error.start : error.end]
    return "".join(_PLAIN.get(one) or ascii(one)[1:-1] for one in found), error.end


codecs.register_error(HANDLER, plain)
