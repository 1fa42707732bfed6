"""Texts to calibrate on: the one that ships, a file, or a data set of Hugging Face's library."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..engines.errors import ConfigError
from ..engines.models.bundled import calibration_text

BUNDLED = "the text that ships"
_FIELD = "text"


def calibration_texts(source: str | None) -> Iterable[str]:
    """Documents of `source`, read as they are asked for.

    None: the public-domain text that ships. A file: one document, or, of a name that ends in
    `.jsonl`, the field "text" of each line. Anything else: `data set[:config[:split]]`, a name on
    the hub or a directory, whose column "text" is taken; the split is train unless given.
    Raises ConfigError, here or while documents are read, for what cannot be.
    """
    if source is None:
        return [calibration_text()]
    path = Path(source).expanduser()
    if not path.is_file():
        return _dataset(source)
    return _json_lines(path) if path.suffix == ".jsonl" else [_text(path)]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(str(path), error) from error


def _json_lines(path: Path) -> Iterator[str]:
    for number, line in enumerate(_text(path).splitlines(), 1):
        if not line.strip():
            continue
        try:
            text = json.loads(line)[_FIELD]
        except (ValueError, KeyError, TypeError):
            text = None
        if not isinstance(text, str):
            allowed = f'a JSON object with a string "{_FIELD}" on every line'
            raise ConfigError("calibration", f"{path}, line {number}", allowed)
        yield text


def _dataset(source: str) -> Iterator[str]:
    from datasets import load_dataset, load_from_disk
    from datasets.exceptions import DatasetsError

    name, _, rest = source.partition(":")
    config, _, split = rest.partition(":")
    split = split or "train"
    documents: Any  # one of four classes that are read alike
    try:
        if (Path(name).expanduser() / "dataset_dict.json").is_file():
            documents = load_from_disk(name)[split]
        elif (Path(name).expanduser() / "dataset_info.json").is_file():
            documents = load_from_disk(name)
        else:
            documents = load_dataset(name, config or None, split=split, streaming=True)
        for document in documents:
            text = document.get(_FIELD)
            if not isinstance(text, str):
                columns = f'a data set with a column "{_FIELD}", not {sorted(document)}'
                raise ConfigError("calibration", source, columns)
            yield text
    except ConfigError:
        raise
    except (DatasetsError, OSError, ValueError, KeyError) as error:
        raise _unreadable(source, error) from error


def _unreadable(source: str, error: Exception) -> ConfigError:
    problem = " ".join(str(error).split())[:200]
    return ConfigError("calibration", source, f"a file or a data set that can be read ({problem})")
