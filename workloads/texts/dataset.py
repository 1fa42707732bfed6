"""A Hugging Face dataset: of the hub, or a local file or folder, through `datasets`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, cast

from ..api import WorkloadError
from ..spec import DatasetPrompts
from .conversation import Conversation, collect, from_record

HUB = "hf:"
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


def _rows(name: str) -> Iterable[Mapping[str, Any]]:
    import datasets

    datasets.disable_progress_bars()
    # What cannot be reached is one line of ours, not one for each try.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    expected = "hf:NAME[:SPLIT] that can be reached, a local file or a saved dataset"
    try:
        found = _load_hub(name) if name.startswith(HUB) else _load_local(Path(name))
    except WorkloadError:
        raise
    except Exception as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        problem = f"cannot be loaded ({reason})"
        raise WorkloadError("prompts.dataset", name, expected, problem) from error
    if isinstance(found, Mapping):
        raise WorkloadError("prompts.dataset", name, f"a split: {', '.join(found)}", "has several")
    return cast("Iterable[Mapping[str, Any]]", found)


def _load_hub(name: str) -> object:
    import datasets

    path, *rest = name.removeprefix(HUB).split(":")
    if not path or len(rest) > 2:
        expected = "hf:NAME, hf:NAME:SPLIT or hf:NAME:CONFIG:SPLIT"
        raise WorkloadError("prompts.dataset", name, expected)
    split = rest[-1] if rest else "train"
    return datasets.load_dataset(path, rest[0] if len(rest) == 2 else None, split=split)


def _load_local(path: Path) -> object:
    import datasets

    if not path.exists():
        expected = f"hf:{path.name} for a dataset of the hub, or a file that exists"
        raise WorkloadError("prompts.dataset", path, expected, "is not there")
    if path.is_dir():
        return datasets.load_from_disk(str(path))
    reader = _READERS.get(path.suffix)
    if reader is None:
        raise WorkloadError("prompts.dataset", path, f"a file ending in {', '.join(_READERS)}")
    return datasets.load_dataset(reader, data_files=str(path), split="train")
