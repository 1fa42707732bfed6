"""The table of what a run took of its machine."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from llmbench.reports.machine_use import key_figures, machine_use
from llmbench.reports.markdown import render_markdown
from llmbench.reports.metric_tables import rates
from llmbench.reports.model import Run
from llmbench.reports.run_report import run_report

from .conftest import make_run


def known() -> Run:
    run = make_run()
    result = dict[str, Any](run.result)
    share, energy, cost = (
        {"unit": unit, "better": better}
        for unit, better in (("share", "higher"), ("J/token", "lower"), ("per Mtoken", "lower"))
    )
    result["metrics"] = {
        **result["metrics"],
        "mfu": {**share, "stats": {"run": 0.2, "prefill": 0.512}},
        "mbu": {**share, "stats": {"run": 0.4, "decode": 0.8}},
        "energy_per_token": {**energy, "stats": {"output": 0.25, "total": 0.1}},
        "cost_per_million_tokens": {**cost, "stats": {"output": 0.694, "total": 0.3}},
    }
    result["peaks"] = {
        "bytes_per_s": 3.35e12,
        "flops_per_s": 989.5e12,
        "dtype": "bf16",
        "source": "hardware table, h100",
    }
    result["energy"] = {
        "source": "NVML",
        "joules_by_domain": {"gpu": 480.0},
        "duration_s": 9.0,
    }
    result["config"] = {**result["config"], "price_per_hour": 2.5}
    return replace(run, result=result)


def test_every_number_says_what_it_is_of() -> None:
    found = machine_use(known())
    assert found is not None
    rows = [[cell.text for cell in row] for row in found.rows]
    assert ["MFU", "51.2 %", "steps that only prefill"] in rows
    assert ["MBU", "80 %", "steps that only decode"] in rows
    assert ["Energy a token", "0.250 J/token", "output tokens"] in rows
    assert ["Cost of a million tokens", "0.694 per Mtoken", "output tokens"] in rows
    for fact in ("TFLOP/s in bf16", "hardware table, h100", "NVML", "gpu 480 J", "2.5"):
        assert fact in found.note


def test_the_cost_says_which_throughput_it_is_at() -> None:
    for steady, said in ((True, "steady window"), (False, "whole run")):
        run = known()
        window = {**run.result["window"], "steady": steady}
        found = machine_use(replace(run, result={**run.result, "window": window}))
        assert found is not None
        assert f"Cost at a price of 2.50 an hour and the {said}'s throughput." in found.note


def test_a_share_of_a_peak_is_no_rate() -> None:
    assert "MFU" not in {row[0].text for row in rates(known()).rows}


def test_what_is_absent_says_why() -> None:
    run = make_run()
    run = replace(run, result={**run.result, "absent": {"mbu": "nobody measured"}})
    found = machine_use(run)
    assert found is not None
    assert [[cell.text for cell in row] for row in found.rows] == [
        ["MBU", "n/a", "nobody measured"]
    ]
    assert key_figures(run) == []


def test_an_older_result_has_no_such_table() -> None:
    assert machine_use(make_run()) is None


def test_the_first_screen_shows_what_people_quote() -> None:
    labels = {figure.label: figure for figure in key_figures(known())}
    assert set(labels) == {"MBU while decoding", "Cost", "Energy"}
    assert labels["MBU while decoding"].detail == "MFU while prefilling 51.2 %"
    assert "Use of the machine" in render_markdown(run_report(known()))
