"""From stored runs to a frontier, on runs that are written by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llmbench.engines.config import engine_config
from llmbench.engines.errors import ConfigError
from llmbench.harness.config import RunConfig
from llmbench.harness.frontier.analyse import analyse
from llmbench.harness.frontier.runs import MethodRun
from llmbench.harness.result import Check, Quality
from llmbench.harness.storage.store import find_run, write_run
from llmbench.harness.tasks.evaluate import Score
from llmbench.reports.frontier_model import KL, PERPLEXITY, THROUGHPUT, between

from ..judged import quality_of
from ..observed import serve_in_turn
from ..stored import stored_run

TEXT = {"perplexity_text": "a text", "perplexity_window_tokens": 64, "perplexity_tokens": 640}


def run(
    directory: Path,
    method: str,
    step_s: float,
    quality: Quality | None,
    *,
    count: int = 120,
    emulated: Mapping[str, str] | None = None,
    checks: tuple[Check, ...] = (),
    **config: Any,
) -> MethodRun:
    requests, steps = serve_in_turn(count, step_s=step_s)
    settings = {"quant": method, "dtype": "bfloat16", "device": "cpu", "seed": 0, **config}
    made = stored_run(requests, steps, config=settings)
    validity = made.result.validity
    validity = validity.model_copy(update={"checks": (*validity.checks, *checks)})
    said = {"quality": quality, "emulated": dict(emulated or {}), "validity": validity}
    result = made.result.model_copy(update=said)
    write_run(directory / method, result, made.requests, made.steps, {})
    return MethodRun(method, find_run(directory / method))


def plain(directory: Path, **config: Any) -> MethodRun:
    quality = Quality(reference="itself", perplexity=20.0, **TEXT)
    return run(directory, "none", 0.02, quality, **config)


def four_bits(directory: Path, **config: Any) -> MethodRun:
    quality = Quality(
        reference="none",
        perplexity=21.0,
        reference_perplexity=20.0,
        text_kl_mean=0.03,
        text_top1_agreement=0.9,
        caveat="on a grid",
        **TEXT,
    )
    return run(directory, "awq", 0.01, quality, **config)


def test_figures_ratios_and_who_is_on_the_frontier(tmp_path: Path) -> None:
    scores = {"awq": [Score("t", "acc", 0.5, 0.1, 25, True)]}
    found = analyse([four_bits(tmp_path), plain(tmp_path)], None, scores, command="llmbench run")
    awq, none = found.methods
    assert found.baseline == "none"
    assert found.comparison is not None
    assert found.comparison.runs == ("none", "awq"), "ratios are to the unquantised"
    assert awq.ratios is not None
    assert awq.ratios["output_tokens_per_s"] == pytest.approx(2.0, rel=0.02)
    assert awq.ratios["perplexity"] == pytest.approx(1.05)
    assert awq.throughput_ratio is not None
    assert awq.throughput_ratio.value == pytest.approx(2.0, rel=0.02)
    assert awq.task_scores == (("t", "acc", 0.5, 0.1),)
    assert (none.text_kl_mean, none.text_top1_agreement) == (0.0, 1.0)
    assert awq.on_frontier
    assert none.on_frontier, "it is slower and closer to itself"
    assert found.quality_of == "640 tokens of a text, windows of 64"
    assert "on a grid" in found.notes
    assert [one.named for one in found.claims] == ["INT4 weights double throughput (awq)"]


def test_a_method_that_was_not_measured_or_is_not_valid_does_not_count(tmp_path: Path) -> None:
    failed = MethodRun("int8", None, "no memory left")
    nothing = run(tmp_path, "awq", 0.01, None, count=0)
    found = analyse([plain(tmp_path), nothing, failed], None, {}, command="")
    assert [one.name for one in found.counted] == ["none"]
    assert found.method("int8").reason == "not measured: no memory left"
    assert found.method("awq").reason.startswith("not valid: ")
    assert found.notes[:2] == (
        f"awq: {found.method('awq').reason}",
        "int8: not measured: no memory left",
    )
    assert found.comparison is None
    assert found.claims == ()


def test_without_the_unquantised_model_the_first_method_is_the_baseline(tmp_path: Path) -> None:
    found = analyse([four_bits(tmp_path)], None, {}, command="")
    assert found.baseline == "awq"
    assert found.claims == ()


def test_what_the_numbers_cannot_carry_is_said(tmp_path: Path) -> None:
    rated = {"request_rate": 4.0}
    runs = [
        plain(tmp_path, **rated),
        four_bits(tmp_path, emulated={"fp4_linear": "codes are widened"}, **rated),
    ]
    found = analyse(runs, None, {}, command="")
    assert found.method("awq").emulated
    notes = " ".join(found.notes)
    assert "awq: emulated" in notes
    assert "requests arrive at 4 a second" in notes
    # What is said of both runs alike is said once.
    assert len(found.notes) == len(set(found.notes))


def test_speed_alone_has_a_frontier_too(tmp_path: Path) -> None:
    runs = [run(tmp_path, "none", 0.02, None), run(tmp_path, "awq", 0.01, None)]
    found = analyse(runs, None, {}, command="")
    assert found.method("none").dominated_by == ("awq",)
    assert found.quality_of == ""
    assert any("no quality was measured" in note for note in found.notes)


def in_parts(nll: np.ndarray, kl: np.ndarray | None = None) -> Quality:
    return quality_of(nll.tolist(), None if kl is None else kl.tolist())


def test_rivals_and_the_frontier_go_by_intervals_over_the_text(tmp_path: Path) -> None:
    """AWQ has half of GPTQ's KL in every part, and a perplexity lower by a thousandth, which
    the next text turns; both are as fast and as large."""
    rng = np.random.default_rng(5)
    hard, far = rng.normal(3.0, 0.5, 128), rng.uniform(0.01, 0.02, 128)
    shift = rng.normal(0.0, 0.05, 128)
    shift -= shift.mean()
    runs = [
        run(tmp_path, "none", 0.02, in_parts(hard)),
        run(tmp_path, "awq", 0.02, in_parts(hard + 0.2, far / 2 * rng.uniform(0.9, 1.1, 128))),
        run(tmp_path, "gptq", 0.02, in_parts(hard + 0.201 + shift, far)),
    ]
    found = analyse(runs, None, {}, command="")
    claim = next(one for one in found.claims if one.claim == "AWQ beats GPTQ")
    assert claim.verdict == "partly"
    assert claim.evidence.count("not decided") == 1
    kl = between(found.pairs, "awq", "gptq")[KL]
    assert kl.verdict == "better"
    assert kl.low is not None
    assert kl.high is not None
    assert kl.low < kl.value < kl.high < 0.7
    assert KL not in between(found.pairs, "awq", "none"), "no distance to itself"
    # Closer, of one size; and the speeds are the same in every request, pair by pair.
    assert between(found.pairs, "awq", "gptq")[THROUGHPUT].verdict == "same"
    assert found.method("gptq").dominated_by == ("none", "awq")
    ratio = found.method("awq").perplexity_ratio
    assert ratio is not None
    assert ratio.verdict == "worse"


def test_six_methods_are_told_apart_by_four_thousand_tokens(tmp_path: Path) -> None:
    """AWQ has four fifths of GPTQ's KL, and parts of the text differ by a quarter: so much is
    known beside all that else is judged, and was not when every ratio of every two was judged by
    four blocks of text."""
    rng = np.random.default_rng(6)
    hard = rng.normal(3.0, 0.5, 128)
    quality = {"none": in_parts(hard)}
    for name, kl in {"awq": 0.12, "gptq": 0.15, "int8": 0.005, "w8a8": 0.035, "rtn": 0.26}.items():
        far = kl * rng.normal(1.0, 0.25, 128).clip(0.1)
        quality[name] = in_parts(hard + 0.2 + rng.normal(0.0, 0.05, 128), far)
    runs = [run(tmp_path, name, 0.02, one) for name, one in quality.items()]
    found = analyse(runs, None, {}, command="")
    assert between(found.pairs, "awq", "gptq")[KL].verdict == "better"
    assert found.method("gptq").dominated_by
    assert not any(one.undecided_by for one in found.methods)


def test_perplexities_that_no_sentence_is_about_hold_by_themselves(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    hard = rng.normal(3.0, 0.5, 128)
    names = ("none", "awq", "gptq", "rtn")
    runs = [
        run(tmp_path, name, 0.02, in_parts(hard + rng.normal(0.1, 0.05, 128), 0.1 + 0 * hard))
        for name in names
    ]
    found = analyse(runs, None, {}, command="")
    alone = {
        (pair.first, pair.second, name)
        for pair in found.pairs
        for name, ratio in pair.ratios.items()
        if ratio.alone
    }
    assert alone == {("awq", "rtn", PERPLEXITY), ("gptq", "rtn", PERPLEXITY)}
    # What is said of a method beside the first goes by the interval that holds with the others.
    ratio = found.method("rtn").perplexity_ratio
    assert ratio == between(found.pairs, "rtn", "none")[PERPLEXITY]


def test_a_run_that_others_disturbed_is_neither_dominated_nor_a_choice(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    hard, far = rng.normal(3.0, 0.5, 128), rng.uniform(0.01, 0.02, 128)
    machine = Check(id="machine", ok=False, fatal=False, detail="others had 30 %")
    runs = [
        run(tmp_path, "awq", 0.020, in_parts(hard, far / 2 * rng.uniform(0.9, 1.1, 128))),
        run(tmp_path, "gptq", 0.021, in_parts(hard, far), checks=(machine,)),
    ]
    found = analyse(runs, None, {}, command="")
    assert found.method("gptq").dominated_by == ()
    assert found.method("gptq").undecided_by == ("awq",)
    assert found.method("awq").on_frontier, "it is closer beyond doubt"


def test_methods_of_other_requests_are_not_set_beside_each_other(tmp_path: Path) -> None:
    from llmbench.harness.frontier import runs as tool
    from llmbench.harness.run.watch import Silent

    class Cells:
        def identify(self, overrides, seed: int) -> tool.Identity:
            return tool.Identity({"seed": seed}, str(overrides["quant"]))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tool, "RealCells", lambda *_: Cells())
        settings = RunConfig("bundled", engine_config("paged"))
        with pytest.raises(ConfigError, match="sent the same requests"):
            tool.check_methods(["none", "awq"], settings, Silent())
    assert not list(tmp_path.iterdir())
