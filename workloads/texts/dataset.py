"""A Hugging Face dataset: of the hub, or a local file or folder, through `datasets`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, cast

from ..api import WorkloadError
from ..spec import DatasetPrompts
from .conversation import Conversation, collect, from_record

HUB = "hf:"
_DEFAULT_SPLIT = "train"
# How `datasets` calls what reads a file of this ending.
_READERS = {
    ".parquet": "parquet",
    ".json": "json",
    ".jsonl": "json",
    ".csv": "csv",
    ".arrow": "arrow",
}


def read_dataset(prompts: DatasetPrompts) -> list[Conversation]:
    """Every row that says something. Raises WorkloadError: no such dataset, no network, no such
    split or field."""
    rows = _rows(prompts.dataset)
    if prompts.rows is not None:
        rows = islice(rows, prompts.rows)

    def places() -> Iterator[tuple[str, Callable[[], Conversation | None]]]:
        for number, row in enumerate(rows, start=1):
            yield (
                f"row {number}",
                lambda row=row: from_record(row, prompts.prompt_field, prompts.reply_field),
            )

    return collect(places(), prompts.dataset)


def split_path(name: str) -> tuple[Path, str | None]:
    """PATH or PATH:SPLIT of a local dataset; a path that is there wins over a split."""
    path, colon, split = name.rpartition(":")
    if not colon or Path(name).exists() or not Path(path).exists():
        return Path(name), None
    return Path(path), split


def _rows(name: str) -> Iterable[Mapping[str, Any]]:
    import datasets

    datasets.disable_progress_bars()
    expected = "hf:NAME[:SPLIT] that can be reached, a local file or a saved dataset"
    try:
        with _silent_libraries():
            found = _load_hub(name) if name.startswith(HUB) else _load_local(name)
    except WorkloadError:
        raise
    except Exception as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        problem = f"cannot be loaded ({reason})"
        raise WorkloadError("prompts.dataset", name, expected, problem) from error
    return cast("Iterable[Mapping[str, Any]]", found)


@contextmanager
def _silent_libraries() -> Iterator[None]:
    """What cannot be loaded is one line of ours, not one more for each library and each try."""
    loggers = [logging.getLogger(one) for one in ("datasets", "huggingface_hub")]
    levels = [one.level for one in loggers]
    for one in loggers:
        one.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level)


def _load_hub(name: str) -> object:
    import datasets

    path, *rest = name.removeprefix(HUB).split(":")
    if not path or len(rest) > 2:
        expected = "hf:NAME, hf:NAME:SPLIT or hf:NAME:CONFIG:SPLIT"
        raise WorkloadError("prompts.dataset", name, expected)
    local = name.removeprefix(HUB)
    if len(rest) < 2 and _is_here(split_path(local)[0]):
        return _load_local(local)
    split = rest[-1] if rest else _DEFAULT_SPLIT
    return datasets.load_dataset(path, rest[0] if len(rest) == 2 else None, split=split)


def _load_local(name: str) -> object:
    import datasets

    path, split = split_path(name)
    if not path.exists():
        expected = f"hf:{path.name} for a dataset of the hub, or a file that exists"
        raise WorkloadError("prompts.dataset", path, expected, "is not there")
    if _is_saved(path):
        return _of_split(name, datasets.load_from_disk(str(path)), split)
    if path.is_dir():
        found = datasets.load_dataset(str(path))
        return _of_split(
            name, found, split or (_DEFAULT_SPLIT if _DEFAULT_SPLIT in found else None)
        )
    if not path.stat().st_size:
        raise WorkloadError("prompts.dataset", path, "at least one prompt", "is empty")
    reader = _READERS.get(path.suffix)
    if reader is None:
        raise WorkloadError("prompts.dataset", path, f"a file ending in {', '.join(_READERS)}")
    return _of_split(name, datasets.load_dataset(reader, data_files=str(path)), split)


def _is_here(path: Path) -> bool:
    """Whether a name after `hf:` is that of a file or a folder: the hub is not asked for it."""
    return path.is_file() or path.is_dir()


def _is_saved(path: Path) -> bool:
    """Whether `save_to_disk` made a folder."""
    return any((path / one).is_file() for one in ("dataset_dict.json", "state.json"))


def _of_split(name: str, found: object, split: str | None) -> object:
    """The dataset of this name, or the only one there is. Raises WorkloadError."""
    if not isinstance(found, Mapping):
        # One that was saved alone knows its split at best; `datasets` calls what has none train.
        found = {str(getattr(found, "split", None) or _DEFAULT_SPLIT): found}
    chosen = next(iter(found)) if split is None and len(found) == 1 else split
    if chosen is None or chosen not in found:
        problem = "has several" if chosen is None else f"has no split {chosen!r}"
        raise WorkloadError("prompts.dataset", name, f"a split: {', '.join(found)}", problem)
    return found[chosen]
