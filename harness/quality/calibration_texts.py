"""Texts to calibrate on: the one that ships, a file, or a data set of Hugging Face's library."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ...engines.errors import ConfigError
from ...engines.models.bundled import calibration_text
from ...workloads.api import WorkloadError
from ...workloads.spec import ShareGPTPrompts
from ...workloads.texts.conversation import Conversation, from_messages
from ...workloads.texts.sharegpt import read_sharegpt

BUNDLED = "the text that ships"
_FIELD = "text"
# Of files that hold text, or that somebody may think are read here.
_SUFFIXES = {".txt", ".json", ".jsonl", ".md", ".csv", ".parquet", ".gz", ".zst"}
_MESSAGES = ("messages", "conversations")
_SPOKEN = " or ".join(f'"{name}"' for name in _MESSAGES)


def calibration_texts(source: str | None) -> Iterable[str]:
    """Documents of `source`, read as they are asked for.

    None: the public-domain text that ships. A file: one document; of a name that ends in `.jsonl`,
    one a line, its field "text" or what is said in its "messages" or "conversations"; of one in
    `.json`, ShareGPT's conversations. Anything else: `data set[:config[:split]]`, a name on the hub
    or a directory, whose column "text" is taken; the split is train unless given.
    Raises ConfigError, here or while documents are read, for what cannot be.
    """
    if source is None:
        return [calibration_text()]
    path = Path(os.path.expanduser(source))
    if not os.path.isfile(path):
        if _means_a_file(source):
            raise ConfigError("calibration", source, "a file or a data set; there is no such file")
        return _dataset(source)
    suffix = path.suffix.lower()
    if suffix == ".json":
        return _conversations(path)
    return _json_lines(path) if suffix == ".jsonl" else [_text(path)]


def _means_a_file(source: str) -> bool:
    """What is no data set's name, nor a directory's: nobody is asked for it over a network."""
    place = source.partition(":")[0]
    if os.path.isdir(os.path.expanduser(place)):
        return False
    a_path = source.startswith(("/", ".", "~")) or place.count("/") > 1
    return a_path or Path(source).suffix.lower() in _SUFFIXES


def _conversations(path: Path) -> Iterator[str]:
    try:
        yield from map(_said, read_sharegpt(ShareGPTPrompts(kind="sharegpt", path=path)))
    except WorkloadError as error:
        # It speaks of a run's prompts, which this command does not have.
        renamed = ConfigError("calibration", str(path), error.allowed)
        renamed.args = (str(error).replace(error.field, "calibration", 1),)
        raise renamed from error


def _text(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(str(path), error) from error
    if "\0" in text:  # which many binary files are made of, and UTF-8 allows
        raise ConfigError("calibration", str(path), "a text; it holds bytes that are 0")
    return text


def _json_lines(path: Path) -> Iterator[str]:
    # Not splitlines: a JSON string may hold other line separators, such as U+2028.
    for number, line in enumerate(_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            text = _document(json.loads(line))
        except (ValueError, RecursionError):
            text = None
        if text is None:
            allowed = (
                f'a JSON object with a string "{_FIELD}", or a list of {_SPOKEN}, on every line'
            )
            raise ConfigError("calibration", f"{path}, line {number}", allowed)
        yield text


def _document(record: object) -> str | None:
    """None for a record that is none; empty for a conversation in which no user speaks. Raises
    ValueError for messages that are not."""
    if not isinstance(record, dict):
        return None
    if isinstance(record.get(_FIELD), str):
        return record[_FIELD]
    for name in _MESSAGES:
        if name in record:
            conversation = from_messages(record[name])
            return _said(conversation) if conversation else ""
    return None


def _said(conversation: Conversation) -> str:
    """What everybody says, in turn; no chat template is put around it."""
    said = [conversation.system]
    for turn in conversation.turns:
        said += [turn.user, turn.reply or ""]
    return "\n\n".join(filter(None, said))


def _dataset(source: str) -> Iterator[str]:
    from datasets import load_dataset, load_from_disk
    from datasets.exceptions import DatasetsError

    name, _, rest = source.partition(":")
    if not name:
        raise ConfigError("calibration", source, "a file, a data set or bundled")
    name = os.path.expanduser(name)
    config, _, split = rest.partition(":")
    split = split or "train"
    documents: Any  # one of four classes that are read alike
    try:
        if (Path(name) / "dataset_dict.json").is_file():
            documents = load_from_disk(name)[split]
        elif (Path(name) / "dataset_info.json").is_file():
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
