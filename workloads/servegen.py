"""ServeGen's senders as a workload: per-client rates and burstiness, and histograms of lengths.

Format: see `traces/servegen_folder.py`. A client keeps its mean rate, which in production follows
the hours of the day, and all clients draw from the category's lengths.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby, pairwise
from operator import itemgetter
from pathlib import Path

from pydantic import ValidationError

from .api import WorkloadError
from .overrides import scaled_clients
from .spec import Client, Clients, HistogramLength, SampledLengths, WorkloadSpec
from .traces.rows import CsvRows, Row
from .traces.servegen_folder import BIN_COLUMNS, CLIENT_COLUMNS, CLIENTS, WANTED

_FAMILIES = {"Gamma": "gamma", "Weibull": "weibull", "Exponential": "gamma"}
# Of a category without input_tokens, the text's are the nearest: images and sounds are left out.
_INPUT_FIELDS = ("input_tokens", "text_tokens")
_NUM_REQUESTS = 1000


def servegen_workload(
    folder: Path, category: str | None, rate_per_s: float | None = None
) -> WorkloadSpec:
    """A category's clients and lengths. rate_per_s: of all clients together, each scaled alike.

    Raises WorkloadError: no such category, a bad row (its line is named), missing files.
    """
    by_category = _clients(folder)
    if category not in by_category:
        expected = f"one of {', '.join(by_category)}"
        problem = "is missing" if category is None else "is not in the data"
        raise WorkloadError("category", category, expected, problem)
    arrivals = Clients(kind="clients", clients=tuple(by_category[category]))
    total = sum(one.rate_per_s for one in arrivals.clients)
    if rate_per_s is not None:
        if not 0 < rate_per_s < math.inf:
            raise WorkloadError("request_rate", rate_per_s, "a number above 0")
        arrivals = _scaled(arrivals, rate_per_s)
    histograms = _histograms(folder / f"hist_{category.replace('/', '_')}.csv")
    inputs = next((name for name in _INPUT_FIELDS if name in histograms), None)
    if inputs is None or "output_tokens" not in histograms:
        expected = "histograms of input_tokens and output_tokens"
        raise WorkloadError("category", category, expected, "has no lengths")
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
        family = _FAMILIES.get((row.values["main_iat_family"] or "").strip())
        if family is None:
            raise row.bad("main_iat_family", f"one of {', '.join(_FAMILIES)}")
        cv = row.number("rate_weighted_cv")
        try:
            client = Client.model_validate(
                {"rate_per_s": rate, "cv": min(max(cv, 0.01), 1000.0), "family": family}
            )
        except ValidationError as error:
            raise row.bad("mean_rate_rps", error.errors()[0]["msg"]) from None
        found.setdefault(row.values["category"] or "", []).append(client)
    return found


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
        rows = list(CsvRows(path, columns))
    except OSError as error:
        reason = (error.strerror or "unreadable").lower()
        raise WorkloadError("trace", path, WANTED, f"cannot be read: {reason}") from error
    missing = [name for name in columns if name not in rows[0].values]
    if missing:
        problem = f"has no column {', '.join(missing)}"
        raise WorkloadError("trace", path, f"the columns {', '.join(columns)}", problem)
    return rows
