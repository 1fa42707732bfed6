"""ServeGen's own files: rows as published, and hand-made ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from llmbench.workloads.api import LengthLimits, WorkloadError, plan_workload
from llmbench.workloads.servegen import servegen_workload
from llmbench.workloads.spec import Clients, SampledLengths
from llmbench.workloads.traces.servegen_chunks import Sender, models_of, read_chunks

# language/m-small/chunk-3-trace.csv: all windows in which anything was sent.
PUBLISHED = {
    822000: "44.66166666666667,2.327382191253478,Gamma,0.18461399444235926,0.014343076401649803",
    825000: "47.32,1.161170063181599,Gamma,0.7416660229293631,0.0026232581701820163",
    855000: "1.3333333333333333,2.059908460458817,Gamma,0.2356699233841985,0.11155586775896742",
}
LENGTHS = {
    "0": {"input_tokens": "{}", "output_tokens": "{}"},
    "1200": {"input_tokens": "{10: 0.5, 20: 0.5}", "output_tokens": "{5: 1.0}"},
    "2400": {"input_tokens": "{}", "output_tokens": "{}"},
    "3000": {"input_tokens": "{0: 0.25, 1000: 7.5e-1}", "output_tokens": "{5: 0.5, 7: 0.5}"},
}


HERE = Path()


@pytest.fixture(autouse=True)
def in_a_place_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own path is too long for a line."""
    monkeypatch.chdir(tmp_path)


def write(
    folder: Path, number: int, rows: list[str], lengths: object = LENGTHS, model: str = "m"
) -> Path:
    place = folder / "data" / "language" / model
    place.mkdir(parents=True, exist_ok=True)
    (place / f"chunk-{number}-trace.csv").write_text("".join(f"{row}\n" for row in rows))
    (place / f"chunk-{number}-dataset.json").write_text(json.dumps(lengths))
    return place


def windows(**sent: str) -> list[str]:
    """Seven of ten minutes; w3: what follows its start."""
    return [f"{600 * at},{sent.get(f'w{at}', '0,0,,0,0')}" for at in range(7)]


def test_the_rate_and_burstiness_of_a_published_client() -> None:
    """0.04629 requests/s, 1.732 and Gamma are what was derived of it by others."""
    rows = [f"{at},{PUBLISHED.get(at, '0,0,,0,0')}" for at in range(0, 1209600, 600)]
    (one,), _ = read_chunks(write(HERE, 3, rows, {}))
    assert round(one.rate_per_s, 5) == 0.04629
    assert round(one.cv, 3) == 1.732
    assert one.family == "Gamma"


def test_a_client_is_what_most_of_its_requests_are() -> None:
    sent = windows(w1="6,1,Gamma,1,1", w2="1,8,Weibull,1,1", w3="7,2,Weibull,1,1")
    place = write(HERE, 0, sent)
    write(HERE, 1, windows())  # who sent nothing is left out
    assert read_chunks(place)[0] == [Sender(14 / 7, (6 + 8 + 14) / 14, "Weibull")]


def test_clients_are_in_the_order_of_their_numbers() -> None:
    for number in (10, 9, 1):
        place = write(HERE, number, windows(w2=f"{number},1,Gamma,1,1"))
    assert [one.rate_per_s * 7 for one in read_chunks(place)[0]] == pytest.approx([1, 9, 10])


def test_requests_have_the_lengths_of_the_last_window_that_is_not_empty() -> None:
    """What was sent before the first has none."""
    sent = windows(w1="9,1,Gamma,1,1", w2="1,1,Gamma,1,1", w4="2,1,Gamma,1,1", w6="1,1,Gamma,1,1")
    _, lengths = read_chunks(write(HERE, 0, sent))
    assert lengths == {
        "input_tokens": pytest.approx({10: 900, 20: 900, 0: 150, 1000: 450}),
        "output_tokens": pytest.approx({5: 1800 + 300, 7: 300}),
    }


def test_a_workload_of_them() -> None:
    write(HERE, 0, windows(w2="7,1.5,Gamma,1,1"))
    write(HERE, 1, windows(w6="3.5,0.5,Weibull,1,1"))
    spec = servegen_workload(HERE, None, 3.0)
    assert (spec.name, spec.num_requests) == ("servegen-m", 1000)
    assert spec.source.startswith("ServeGen, language/m, 1.5 requests/s in all")
    assert isinstance(spec.arrivals, Clients)
    assert [(one.rate_per_s, one.cv, one.family) for one in spec.arrivals.clients] == [
        (2.0, 1.5, "gamma"),
        (1.0, 0.5, "weibull"),
    ]
    assert isinstance(spec.lengths, SampledLengths)
    plan = plan_workload(
        spec, seed=0, corpus_token_ids=range(2000), limits=LengthLimits(None, None, 200_000)
    )
    inputs = np.array([len(one.prompt_token_ids) for one in plan.requests])
    # 2/3 of requests have 10 or 20 tokens, and of the others a quarter 0, which is 1, and the rest
    # 1000: in a bin of 5 %.
    near = (inputs > 950) & (inputs < 1051)
    assert set(inputs[~near]) == {1, 10, 20}
    assert near.mean() == pytest.approx(1 / 4, abs=0.06)
    assert (inputs == 1).mean() == pytest.approx(1 / 12, abs=0.04)


def test_the_folder_of_a_model_or_any_above_it() -> None:
    place = write(HERE, 0, windows(w2="1,1,Gamma,1,1"))
    other = write(HERE, 0, windows(w2="1,1,Gamma,1,1"), model="n")
    for above in (HERE, HERE / "data", HERE / "data" / "language"):
        assert models_of(above) == {"language/m": place, "language/n": other}
    assert models_of(place) == {"language/m": place}
    assert servegen_workload(HERE, "language/n").name == "servegen-n"
    with pytest.raises(WorkloadError) as caught:
        servegen_workload(HERE, None)
    assert str(caught.value) == "category: is missing; expected one of language/m, language/n"
    with pytest.raises(WorkloadError, match="'language/n' is not in the data; expected one of l"):
        servegen_workload(place, "language/n")


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("600,1,1,Gamma,1", "'600,1,1,Gamma,1' at line 2; expected start, rate, cv, family"),
        ("600,many,1,Gamma,1,1", "'600,many,1,Gamma,1,1' at line 2; expected numbers of 0 or more"),
        ("600,-1,1,Gamma,1,1", "'600,-1,1,Gamma,1,1' at line 2; expected numbers of 0 or more"),
        ("600,1,inf,Gamma,1,1", "'600,1,inf,Gamma,1,1' at line 2; expected numbers of 0 or more"),
        ("0,1,1,Gamma,1,1", "2 windows that are not one after the other; expected 2 or more"),
    ],
)
def test_what_is_wrong_with_a_trace_is_named(row: str, problem: str) -> None:
    with pytest.raises(WorkloadError) as caught:
        read_chunks(write(HERE, 4, ["0,1,1,Gamma,1,1", row]))
    assert "chunk-4-trace.csv' has " + problem in str(caught.value)


@pytest.mark.parametrize(
    ("lengths", "problem"),
    [
        ([], "has something else; expected an object of objects"),
        ({"0": []}, "has something else; expected an object of objects"),
        ({"early": {}}, "has a window whose start is no number; expected starts in seconds"),
        ({"0": {"input_tokens": "__import__('os')"}}, "expected a text like {tokens: share}"),
        ({"0": {"input_tokens": 7}}, "has 7; expected a text like {tokens: share}"),
        ({"0": {"input_tokens": "{1: -0.5}"}}, "has a share that is no number of 0 or more"),
        ({"0": {"output_tokens": "{1: 0.0}"}}, "has output_tokens whose shares are all 0"),
        ({"0": {"input_tokens": "[" * 99_999}}, "expected a text like {tokens: share}"),
        ({"0": {"input_tokens": "{99999999: 1}"}}, "has 99999999 tokens; expected at most 16,777"),
    ],
)
def test_what_is_wrong_with_lengths_is_named(lengths: object, problem: str) -> None:
    with pytest.raises(WorkloadError) as caught:
        read_chunks(write(HERE, 4, windows(w2="1,1,Gamma,1,1"), lengths))
    assert "chunk-4-dataset.json" in str(caught.value)
    assert problem in str(caught.value)


def test_lengths_nested_too_deeply() -> None:
    place = write(HERE, 4, windows(w2="1,1,Gamma,1,1"))
    (place / "chunk-4-dataset.json").write_text("[" * 99_999)
    with pytest.raises(WorkloadError, match=r"chunk-4-dataset\.json' has no JSON: "):
        read_chunks(place)


def test_files_that_were_not_fetched() -> None:
    """A clone without Git LFS has pointers in their place."""
    place = write(HERE, 4, windows(w2="1,1,Gamma,1,1"))
    (place / "chunk-4-dataset.json").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(WorkloadError, match="has a pointer of Git LFS; expected the file that 'gi"):
        read_chunks(place)
    (place / "chunk-4-dataset.json").unlink()
    with pytest.raises(WorkloadError, match=r"cannot be read: no such file .* beside each chunk"):
        read_chunks(place)


def test_gaps_that_no_client_of_a_workload_has() -> None:
    write(HERE, 4, windows(w2="1,1,Pareto,1,1"))
    with pytest.raises(WorkloadError, match="has gaps of Pareto; expected gaps of Gamma, Weibull,"):
        servegen_workload(HERE, None)
    write(HERE, 4, windows(w2="1,1,Gamma,1,1"), {})
    with pytest.raises(WorkloadError, match="'language/m' has no lengths"):
        servegen_workload(HERE, "language/m")
