"""The answer that no rate holds, which stands where a run at capacity would: an earlier run that is
not about it makes way."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from ..errors import PlaceTaken
from .drafts import draft, draft_name, held, remove_abandoned, turn_in
from .placing import put_beside, put_in_place
from .store import Standing, holds_files, is_as_it_stood
from .whole_file import text_file, writing


def write_answer(directory: Path, texts: Mapping[str, str], stood: Standing) -> None:
    """Put texts by file name in the place of what `stood` there, whole.

    Raises StoreError for `out`, leaving what was there as it was, and PlaceTaken if anything but
    `stood` is there, with the answer beside it.
    """
    directory = directory.resolve()
    with writing("out", directory):
        with draft(directory, is_directory=True) as fresh:
            for name, text in texts.items():
                with text_file(fresh / name, name) as file:
                    file.write(text)
            with turn_in(directory.parent):
                if not is_as_it_stood(directory, stood):
                    raise PlaceTaken(directory, put_beside(fresh, directory))
                put_in_place(fresh, directory, replaces=holds_files(directory))
        remove_abandoned(directory)


def remove_run(directory: Path, stood: Standing) -> None:
    """Remove what `stood` there, where an answer elsewhere says that there is no such run. What
    came since is another's, and stays. Raises StoreError for `out`."""
    directory = directory.resolve()
    if stood.result is None:
        return
    with writing("out", directory), turn_in(directory.parent):
        if not is_as_it_stood(directory, stood):
            return
        aside = draft_name(directory)
        with held(directory):
            directory.replace(aside)
            shutil.rmtree(aside)
