"""ServeGen: hand-made senders, and the published data's own totals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from llmbench.workloads.api import LengthLimits, WorkloadError, plan_workload
from llmbench.workloads.lengths import quantile
from llmbench.workloads.servegen import servegen_workload
from llmbench.workloads.spec import Clients, SampledLengths, WorkloadSpec

CLIENTS = """category,client,mean_rate_rps,rate_weighted_cv,peak_rate_rps,main_iat_family
language/m,1,3.0,2.5,9,Gamma
language/m,2,1.0,0.5,9,Weibull
language/m,3,0.0,0.0,0,
other/x,4,9.0,1.0,9,Gamma
"""
BINS = """field,bin_lo,bin_hi,prob
input_tokens,8.72,9.51,0.25
input_tokens,20.0,21.5,0.75
output_tokens,4,6,1.0
reason_ratio,0,0.1,1.0
"""


def folder(tmp_path: Path, clients: str = CLIENTS, bins: str = BINS) -> Path:
    (tmp_path / "clients_summary.csv").write_text(clients)
    (tmp_path / "hist_language_m.csv").write_text(bins)
    return tmp_path


def parts(spec: WorkloadSpec) -> tuple[Clients, SampledLengths]:
    assert isinstance(spec.arrivals, Clients)
    assert isinstance(spec.lengths, SampledLengths)
    return spec.arrivals, spec.lengths


def test_clients_keep_what_makes_them(tmp_path: Path) -> None:
    arrivals, lengths = parts(servegen_workload(folder(tmp_path), "language/m"))
    assert [(one.rate_per_s, one.cv, one.family) for one in arrivals.clients] == [
        (3.0, 2.5, "gamma"),
        (1.0, 0.5, "weibull"),
    ]
    u = np.array([0.0, 0.24, 0.26, 0.62, 0.63, 1.0])
    assert quantile(lengths.input, u).tolist() == [9, 9, 20, 20, 21, 21]
    assert quantile(lengths.output, u).tolist() == [4, 4, 4, 5, 5, 5]


def test_a_rate_scales_all_clients_alike(tmp_path: Path) -> None:
    arrivals, _ = parts(servegen_workload(folder(tmp_path), "language/m", 2.0))
    assert [one.rate_per_s for one in arrivals.clients] == [1.5, 0.5]


@pytest.mark.parametrize(
    ("category", "message"),
    [
        (None, "category: is missing; expected one of language/m, other/x"),
        ("m", "category: 'm' is not in the data; expected one of language/m, other/x"),
    ],
)
def test_a_category_is_asked_for(tmp_path: Path, category: str | None, message: str) -> None:
    with pytest.raises(WorkloadError) as caught:
        servegen_workload(folder(tmp_path), category)
    assert str(caught.value) == message


def test_what_is_wrong_with_the_files_is_named(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match=r"hist_other_x.csv' cannot be read: no such file"):
        servegen_workload(folder(tmp_path), "other/x")
    bad = CLIENTS.replace("0.5,9,Weibull", "0.5,9,Pareto")
    with pytest.raises(WorkloadError, match="has 'Pareto' in column main_iat_family at line 3"):
        servegen_workload(folder(tmp_path, bad), "language/m")
    with pytest.raises(WorkloadError, match="has no column prob; expected the columns field"):
        servegen_workload(folder(tmp_path, bins="field,bin_lo,bin_hi\na,1,2\n"), "language/m")
    bins = BINS.replace("0.75", "many")
    with pytest.raises(WorkloadError, match="has 'many' in column prob at line 3; expected a numb"):
        servegen_workload(folder(tmp_path, bins=bins), "language/m")
    for wrong in ("input_tokens,0,9.51", "input_tokens,9.2,9.8"):
        bins = BINS.replace("input_tokens,8.72,9.51", wrong)
        with pytest.raises(WorkloadError, match="bins of input_tokens that are no histogram"):
            servegen_workload(folder(tmp_path, bins=bins), "language/m")


@pytest.mark.parametrize(
    ("bins", "named"),
    [
        (("8.72,20.5", "20,21.5"), "8.72 to 20.5 and 20 to 21.5"),
        (("8.72,22", "20,21.5"), "8.72 to 22 and 20 to 21.5"),
        (("20,21.5", "20,21.5"), "20 to 21.5 and 20 to 21.5"),
    ],
    ids=["in part", "one in the other", "twice the same"],
)
def test_bins_that_overlap_are_named(tmp_path: Path, bins: tuple[str, str], named: str) -> None:
    """Which of the two a length belongs to is nobody's to say."""
    text = BINS.replace("8.72,9.51", bins[0]).replace("20.0,21.5", bins[1])
    with pytest.raises(WorkloadError) as caught:
        servegen_workload(folder(tmp_path, bins=text), "language/m")
    assert f"has bins of input_tokens that overlap: {named}; expected" in str(caught.value)


def test_a_missing_file_is_said_with_what_it_holds(tmp_path: Path) -> None:
    folder(tmp_path)
    (tmp_path / "hist_language_m.csv").unlink()
    with pytest.raises(WorkloadError) as caught:
        servegen_workload(tmp_path, "language/m")
    assert str(caught.value).endswith(
        "cannot be read: no such file or directory; expected ServeGen's data, with "
        "chunk-N-trace.csv and chunk-N-dataset.json of each client, or a folder with "
        "clients_summary.csv (category, mean_rate_rps, rate_weighted_cv, main_iat_family) and "
        "hist_<category>.csv (field, bin_lo, bin_hi, prob)"
    )


# Clients and their rate in all: summed from the file with another tool.
@pytest.mark.parametrize(
    ("category", "clients", "rate_per_s"),
    [
        ("language/m-large", 162, 195.844),
        ("reason/deepseek-r1", 73, 16.0147),
        ("multimodal/mm-image", 35, 9.47465),
    ],
)
def test_the_published_categories(
    shared_data: Path, category: str, clients: int, rate_per_s: float
) -> None:
    spec = servegen_workload(shared_data / "traces/servegen", category)
    arrivals, _ = parts(spec)
    assert len(arrivals.clients) == clients
    assert sum(one.rate_per_s for one in arrivals.clients) == pytest.approx(rate_per_s, rel=1e-5)
    plan = plan_workload(
        spec, seed=0, corpus_token_ids=range(2000), limits=LengthLimits(None, None, 200_000)
    )
    assert len(plan.requests) == 1000


def test_the_production_mix_is_burstier_than_poisson(shared_data: Path) -> None:
    """What the paper says of m-large: its clients' gaps have a CV above 1, and so has their sum."""
    spec = servegen_workload(shared_data / "traces/servegen", "language/m-large", 4.0)
    spec = spec.model_copy(update={"num_requests": 5000})
    plan = plan_workload(
        spec, seed=0, corpus_token_ids=range(2000), limits=LengthLimits(None, None, 200_000)
    )
    due_s = np.array([one.t_due_s for one in plan.requests], dtype=float)
    gaps_s = np.diff(due_s)
    assert gaps_s.std() / gaps_s.mean() > 1.1
