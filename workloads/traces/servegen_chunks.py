"""ServeGen's clients as alibaba/ServeGen publishes them (arXiv 2505.09999): two files of each, in
data/<category>/<model>.

- chunk-N-trace.csv, without a header, a row a window of ten minutes: its start in seconds, requests
  a second, the CV of their gaps, the gaps' distribution (Gamma, Weibull or Exponential; empty where
  nothing was sent), its shape and its scale.
- chunk-N-dataset.json: by the start in seconds of a longer window, what each field (input_tokens or
  text_tokens, output_tokens, others) was: the text of a Python dict of values and their shares.

Requests have the lengths of the last window of them that began before and is not empty.
"""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ..api import WorkloadError, shown_value
from ..spec.bounds import MOST_TOKENS

CHUNK = "chunk-*-trace.csv"
COLUMNS = ("start", "rate", "cv", "family", "shape", "scale")
TOKEN_FIELDS = ("input_tokens", "text_tokens", "output_tokens")
# Folders below the one that is named: a category's models, all categories', the repository's.
_DEPTHS = ("*/", "*/*/", "data/*/*/")
_POINTER = "version https://git-lfs"
_KEY = re.compile(r"(?<=[{ ])(\d+):")

# How many requests have each number of tokens, of each of TOKEN_FIELDS that is there.
Lengths = dict[str, dict[int, float]]


@dataclass(frozen=True)
class Sender:
    """A client. rate_per_s: the mean over all the time. cv: of gaps within a window, the mean over
    requests. family: what the gaps of most requests are drawn from, as ServeGen calls it."""

    rate_per_s: float
    cv: float
    family: str


@dataclass(frozen=True)
class _Window:
    start_s: float
    length_s: float
    requests: float
    cv: float
    family: str


def models_of(path: Path) -> dict[str, Path]:
    """The folders of chunks at or below a path, by category, as language/m-large."""
    found = [path] if any(path.glob(CHUNK)) else []
    found += [one.parent for depth in _DEPTHS for one in path.glob(depth + CHUNK)]
    return {"/".join(one.resolve().parts[-2:]): one for one in sorted(set(found))}


def read_chunks(folder: Path) -> tuple[list[Sender], Lengths]:
    """The clients of a model that sent anything, by number, and the lengths of all their requests.
    Raises WorkloadError, naming file and line."""
    senders: list[Sender] = []
    lengths: Lengths = {}
    for path in sorted(folder.glob(CHUNK), key=_number):
        windows = _windows(path)
        if any(one.requests for one in windows):
            senders.append(_sender(windows))
            _add_lengths(lengths, windows, path.with_name(f"chunk-{_number(path)}-dataset.json"))
    return senders, lengths


def _number(path: Path) -> int:
    number = path.name.removeprefix("chunk-").removesuffix("-trace.csv")
    if not number.isdecimal():
        raise WorkloadError("trace", path, "chunk-N-trace.csv, with a number", "has no number")
    return int(number)


def _windows(path: Path) -> list[_Window]:
    rows = [_row(path, line, text) for line, text in enumerate(_read(path).splitlines(), start=1)]
    starts_s = [start_s for start_s, *_ in rows]
    lengths_s = [after - before for before, after in pairwise(starts_s)]
    if not lengths_s or min(lengths_s) <= 0:
        raise _bad(path, f"{len(rows)} windows that are not one after the other", "2 or more")
    return [
        # Nothing was sent in a window without a family.
        _Window(start_s, length_s, rate_per_s * length_s if family else 0.0, cv, family)
        for (start_s, rate_per_s, cv, family), length_s in zip(
            rows, [*lengths_s, lengths_s[-1]], strict=True
        )
    ]


def _row(path: Path, line: int, text: str) -> tuple[float, float, float, str]:
    values = text.split(",")
    if len(values) != len(COLUMNS):
        raise _bad(path, f"{shown_value(text, 60)} at line {line}", ", ".join(COLUMNS))
    try:
        start_s, rate_per_s, cv = (float(one) for one in values[:3])
    except ValueError:
        start_s = rate_per_s = cv = math.nan
    if not all(0 <= one < math.inf for one in (start_s, rate_per_s, cv)):
        raise _bad(path, f"{shown_value(text, 60)} at line {line}", "numbers of 0 or more")
    return start_s, rate_per_s, cv, values[3].strip()


def _sender(windows: Sequence[_Window]) -> Sender:
    families: dict[str, float] = {}
    for one in windows:
        families[one.family] = families.get(one.family, 0.0) + one.requests
    requests = sum(families.values())
    return Sender(
        requests / sum(one.length_s for one in windows),
        sum(one.requests * one.cv for one in windows) / requests,
        max(families, key=lambda name: families[name]),
    )


def _add_lengths(lengths: Lengths, windows: Sequence[_Window], path: Path) -> None:
    """Add what a client's windows sent; the file is its dataset. Each distribution is read once,
    for all that it is of."""
    full = {
        float(start): fields
        for start, fields in _dataset(path).items()
        if all(str(text).strip() != "{}" for text in fields.values())
    }
    starts_s = sorted(full)
    sent = dict.fromkeys(starts_s, 0.0)
    for one in windows:
        if at := bisect_right(starts_s, one.start_s):
            sent[starts_s[at - 1]] += one.requests
    for start_s, requests in sent.items():
        there = [field for field in TOKEN_FIELDS if requests and field in full[start_s]]
        for field in there:
            counted = lengths.setdefault(field, {})
            for tokens, share in _shares(path, field, full[start_s][field]).items():
                counted[tokens] = counted.get(tokens, 0.0) + share * requests


def _dataset(path: Path) -> Mapping[str, Mapping[str, object]]:
    try:
        data = json.loads(_read(path))
    except (ValueError, RecursionError) as error:
        raise _bad(path, f"no JSON: {error}", "an object") from error
    if not isinstance(data, dict) or not all(isinstance(one, dict) for one in data.values()):
        raise _bad(path, "something else", "an object of objects")
    if not all(start.isdecimal() for start in data):
        raise _bad(path, "a window whose start is no number", "starts in seconds")
    return data


def _shares(path: Path, field: str, text: object) -> dict[int, float]:
    """A distribution: the text of a Python dict, whose keys JSON would quote."""
    try:
        found = json.loads(_KEY.sub(r'"\1":', str(text)))
        shares = {int(tokens): float(share) for tokens, share in found.items()}
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise _bad(path, shown_value(text, 60), "a text like {tokens: share}") from None
    if not all(0 <= one < math.inf for one in shares.values()):
        raise _bad(path, "a share that is no number of 0 or more", "shares")
    if not any(shares.values()):
        raise _bad(path, f"{field} whose shares are all 0", "a share of more than 0")
    if max(shares, default=0) > MOST_TOKENS:
        raise _bad(path, f"{max(shares)} tokens", f"at most {MOST_TOKENS:,} tokens")
    return shares


def _read(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        reason = (error.strerror or "unreadable").lower()
        expected = "chunk-N-dataset.json beside each chunk-N-trace.csv"
        raise WorkloadError("trace", path, expected, f"cannot be read: {reason}") from error
    except UnicodeDecodeError as error:
        raise _bad(path, "no UTF-8 text", "text") from error
    if text.startswith(_POINTER):
        raise _bad(path, "a pointer of Git LFS", "the file that 'git lfs pull' fetches")
    return text


def _bad(path: Path, found: str, expected: str) -> WorkloadError:
    return WorkloadError("trace", path, expected, f"has {found}")
