"""ServeGen's senders as a workload: per-client rates and burstiness, and histograms of lengths.

Formats: see `traces/servegen_chunks.py` for what ServeGen publishes, and
`traces/servegen_folder.py` for what is derived from it. A client keeps its mean rate, which in
production follows the hours of the day, and all clients draw from the category's lengths.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise
from operator import itemgetter
from pathlib import Path

from pydantic import ValidationError

from .api import WorkloadError
from .overrides import scaled_clients
from .spec import Client, Clients, HistogramLength, SampledLengths, WorkloadSpec
from .traces.rows import Row, csv_rows
from .traces.servegen_chunks import models_of, read_chunks
from .traces.servegen_folder import BIN_COLUMNS, CLIENT_COLUMNS, CLIENTS, WANTED, is_derived

_FAMILIES = {"Gamma": "gamma", "Weibull": "weibull", "Exponential": "gamma"}
# Of a category without input_tokens, the text's are the nearest: images and sounds are left out.
_INPUT_FIELDS = ("input_tokens", "text_tokens")
_NUM_REQUESTS = 1000
# Lengths up to here have bins of their own, longer ones bins that are so much wider than the last.
_SINGLE = 32
_WIDER = 1.05


def servegen_workload(
    folder: Path, category: str | None, rate_per_s: float | None = None
) -> WorkloadSpec:
    """A category's clients and lengths. category: may be left out where chunks are of one.
    rate_per_s: of all clients together, each scaled alike.

    Raises WorkloadError: no such category, a bad row (its line is named), missing files.
    """
    if not is_derived(folder):
        return _of_chunks(folder, category, rate_per_s)
    by_category = _clients(folder)
    clients = by_category[_known(category, by_category)]
    histograms = _histograms(folder / f"hist_{str(category).replace('/', '_')}.csv")
    return _workload(str(category), clients, histograms, rate_per_s)


def _of_chunks(folder: Path, category: str | None, rate_per_s: float | None) -> WorkloadSpec:
    models = models_of(folder)
    if category is None and len(models) == 1:
        (category,) = models
    place = models[_known(category, models)]
    senders, lengths = read_chunks(place)
    if others := {one.family for one in senders} - _FAMILIES.keys():
        expected = f"gaps of {', '.join(_FAMILIES)}"
        raise WorkloadError("trace", place, expected, f"has gaps of {', '.join(sorted(others))}")
    try:
        clients = [_client(one.rate_per_s, one.cv, one.family) for one in senders]
    except ValidationError as error:
        problem = f"has a client of {error.errors()[0]['input']} requests/s"
        raise WorkloadError("trace", place, error.errors()[0]["msg"], problem) from None
    histograms = {
        name: _histogram(place, name, _bins(requests)) for name, requests in lengths.items()
    }
    return _workload(str(category), clients, histograms, rate_per_s)


def _known(category: str | None, there: Mapping[str, object]) -> str:
    if category is not None and category in there:
        return category
    problem = "is missing" if category is None else "is not in the data"
    raise WorkloadError("category", category, f"one of {', '.join(there)}", problem)


def _workload(
    category: str,
    clients: Sequence[Client],
    histograms: Mapping[str, HistogramLength],
    rate_per_s: float | None,
) -> WorkloadSpec:
    inputs = next((name for name in _INPUT_FIELDS if name in histograms), None)
    if inputs is None or "output_tokens" not in histograms:
        expected = "histograms of input_tokens and output_tokens"
        raise WorkloadError("category", category, expected, "has no lengths")
    arrivals = Clients(kind="clients", clients=tuple(clients))
    total = sum(one.rate_per_s for one in arrivals.clients)
    if rate_per_s is not None:
        if not 0 < rate_per_s < math.inf:
            raise WorkloadError("request_rate", rate_per_s, "a number above 0")
        arrivals = _scaled(arrivals, rate_per_s)
    note = f"; {inputs} as the input" if inputs != _INPUT_FIELDS[0] else ""
    return WorkloadSpec(
        name=f"servegen-{category.rpartition('/')[2]}",
        description=f"{len(arrivals.clients)} clients of a service, each with its own bursts",
        source=f"ServeGen, {category}, {total:.4g} requests/s in all (arXiv 2505.09999){note}",
        num_requests=_NUM_REQUESTS,
        arrivals=arrivals,
        lengths=SampledLengths(
            kind="sampled", input=histograms[inputs], output=histograms["output_tokens"]
        ),
        fit="clip",
    )


def _scaled(arrivals: Clients, rate_per_s: float) -> Clients:
    try:
        return Clients.model_validate(scaled_clients(arrivals, rate_per_s))
    except ValidationError as error:
        first = error.errors()[0]
        problem = f"gives a client a rate of {first['input']}"
        raise WorkloadError("request_rate", rate_per_s, first["msg"], problem) from None


def _clients(folder: Path) -> dict[str, list[Client]]:
    """Every category's clients that send anything."""
    found: dict[str, list[Client]] = {}
    for row in _rows(folder / CLIENTS, CLIENT_COLUMNS):
        rate = row.number("mean_rate_rps")
        if rate == 0:
            continue
        family = (row.values["main_iat_family"] or "").strip()
        if family not in _FAMILIES:
            raise row.bad("main_iat_family", f"one of {', '.join(_FAMILIES)}")
        cv = row.number("rate_weighted_cv")
        try:
            client = _client(rate, cv, family)
        except ValidationError as error:
            raise row.bad("mean_rate_rps", error.errors()[0]["msg"]) from None
        found.setdefault(row.values["category"] or "", []).append(client)
    return found


def _client(rate_per_s: float, cv: float, family: str) -> Client:
    """Raises pydantic's ValidationError for a rate that no workload may have."""
    return Client.model_validate(
        {"rate_per_s": rate_per_s, "cv": min(max(cv, 0.01), 1000.0), "family": _FAMILIES[family]}
    )


def _bins(requests: Mapping[int, float]) -> list[tuple[float, float, float]]:
    """What is counted, as shares of all in bins of whole numbers. A length of 0 counts as 1."""
    edges = list(range(1, _SINGLE + 1))
    while edges[-1] <= max(requests):
        edges.append(math.ceil(edges[-1] * _WIDER))
    counts = dict.fromkeys(range(len(edges) - 1), 0.0)
    for tokens, count in requests.items():
        counts[bisect_right(edges, max(tokens, 1)) - 1] += count
    total = sum(counts.values())
    return [
        (edges[at], edges[at + 1], float(f"{count / total:.6g}"))
        for at, count in counts.items()
        if count
    ]


def _histograms(path: Path) -> dict[str, HistogramLength]:
    """Of each field that counts tokens, its bins; what lies between two of them is empty. Raises
    WorkloadError for bins that overlap."""
    bins = [
        (row.values["field"] or "", row.number("bin_lo"), row.number("bin_hi"), row.number("prob"))
        for row in _rows(path, BIN_COLUMNS)
    ]
    return {
        name: _histogram(path, name, [one[1:] for one in several])
        for name, several in groupby(sorted(bins), key=itemgetter(0))
        if name.endswith("_tokens") and name.partition("_")[0] in ("input", "text", "output")
    }


def _histogram(
    path: Path, name: str, bins: Sequence[tuple[float, float, float]]
) -> HistogramLength:
    for one, other in pairwise(bins):
        if other[0] < one[1]:
            # Neither has a claim to what both count, and their shares may add up all the same.
            problem = f"has bins of {name} that overlap: {_span(one)} and {_span(other)}"
            raise WorkloadError("trace", path, "bins that hold each length once", problem)
    edges, counts = [bins[0][0]], []
    for low, high, share in bins:
        if low > edges[-1]:
            edges.append(low)
            counts.append(0.0)
        edges.append(high)
        counts.append(share)
    try:
        return HistogramLength(kind="histogram", edges=tuple(edges), counts=tuple(counts))
    except ValidationError as error:
        problem = f"has bins of {name} that are no histogram: {error.errors()[0]['msg']}"
        expected = "bins of more than 0 tokens, in order"
        raise WorkloadError("trace", path, expected, problem) from error


def _span(found: tuple[float, float, float]) -> str:
    return f"{found[0]:g} to {found[1]:g}"


def _rows(path: Path, columns: tuple[str, ...]) -> Sequence[Row]:
    try:
        rows = list(csv_rows(path))
    except OSError as error:
        reason = (error.strerror or "unreadable").lower()
        raise WorkloadError("trace", path, WANTED, f"cannot be read: {reason}") from error
    missing = [name for name in columns if name not in rows[0].values]
    if missing:
        problem = f"has no column {', '.join(missing)}"
        raise WorkloadError("trace", path, f"the columns {', '.join(columns)}", problem)
    return rows
