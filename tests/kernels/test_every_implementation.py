"""Every operation x implementation x dtype x case against the reference, as `kernels check` does.
Triton's kernels run in its interpreter, in a process that said so before importing it."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from typing import Any

import pytest
import torch
from llmbench.kernels.check import Verdict, check_case, trials
from llmbench.kernels.registry import OPS, implementations
from llmbench.kernels.specs.spec import LLAMA_3_8B, SMOLLM2_135M, StepShape
from llmbench.kernels.specs.table import SPECS, spec_of
from llmbench.kernels.triton.tiles import MOST_EIGHT_BIT_ROWS, MOST_FOUR_BIT_ROWS

CPU = torch.device("cpu")
# Other numbers in each session; a failure says which.
SEED = secrets.randbelow(2**31)
COMPILED = [trial for trial in trials(SPECS, CPU) if not trial.interpreted]
INTERPRETED = [
    (op, one.name, str(dtype).removeprefix("torch."))
    for op, spec in SPECS.items()
    for one in implementations(op)
    if one.name.startswith("triton")
    for dtype in spec.dtypes
    if one.when(torch.device("cuda"), dtype)
]


def test_every_operation_has_a_spec() -> None:
    assert SPECS.keys() == OPS.keys()


@pytest.mark.parametrize(
    ("trial", "name"),
    [
        pytest.param(
            trial,
            name,
            id=f"{trial.spec.op}-{trial.implementation.name}-{trial.dtype}-{name}",
        )
        for trial in COMPILED
        for name in trial.cases
    ],
)
def test_case(trial: Any, name: str) -> None:
    verdict = check_case(
        trial.implementation, trial.spec, name, trial.cases[name], trial.dtype, CPU, SEED
    )
    assert verdict.problem is None, verdict.sentence
    if verdict.refused is not None:
        pytest.skip(f"not taken: {verdict.refused}")


@pytest.mark.parametrize(
    "trial",
    [trial for trial in COMPILED if trial.spec.op == "decoder_step"],
    ids=lambda trial: trial.implementation.name,
)
def test_a_step_is_given_weights_that_its_own_kernels_packed(trial: Any) -> None:
    """An instruction set that is not the machine's best was given the best one's: it took none."""
    name, case = next(iter(trial.cases.items()))
    verdict = check_case(trial.implementation, trial.spec, name, case, trial.dtype, CPU, SEED)
    assert verdict.refused is None


@pytest.fixture(scope="module")
def interpreted() -> list[Verdict]:
    """What `kernels check` says of Triton's kernels without a GPU."""
    pytest.importorskip("triton")
    names = sorted({name for _, name, _ in INTERPRETED})
    run = subprocess.run(
        [
            *(sys.executable, "-c", "from llmbench.harness.cli import main; main()"),
            *("kernels", "check", "--device", "cpu", "--json", "--seed", str(SEED)),
            *(f"--implementation={name}" for name in names),
        ],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode in (0, 1), run.stderr
    return [
        Verdict(**{**one, "error": one["error"] or 0.0})
        for one in json.loads(run.stdout)["verdicts"]
    ]


@pytest.mark.parametrize(("op", "name", "dtype"), INTERPRETED)
def test_interpreted(op: str, name: str, dtype: str, interpreted: list[Verdict]) -> None:
    found = [
        one for one in interpreted if (one.op, one.implementation, one.dtype) == (op, name, dtype)
    ]
    assert len(found) == len(spec_of(op).tiny)
    assert [one.sentence for one in found if one.problem is not None] == []
    assert any(one.refused is None for one in found)


@pytest.mark.parametrize(
    ("op", "packed"),
    [
        ("w4a16_linear", MOST_FOUR_BIT_ROWS),
        ("fp4_linear", MOST_FOUR_BIT_ROWS),
        ("w8a16_linear", MOST_EIGHT_BIT_ROWS),
    ],
)
def test_some_cases_have_more_rows_than_are_multiplied_packed(op: str, packed: int) -> None:
    """In the interpreter, too: what widens weights for them was in no case once 65 were few."""
    spec = spec_of(op)
    assert any(spec.cases[name].rows > packed for name in spec.tiny)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("op", SPECS)
def test_on_a_gpu(op: str) -> None:
    cuda = torch.device("cuda")
    verdicts = [
        check_case(trial.implementation, trial.spec, name, case, trial.dtype, cuda, SEED)
        for trial in trials([op], cuda)
        for name, case in trial.cases.items()
    ]
    assert [one.sentence for one in verdicts if one.problem is not None] == []


@pytest.mark.parametrize("step", [StepShape(batch=3, context=40), StepShape(prompt=33)])
@pytest.mark.parametrize("model", [SMOLLM2_135M, LLAMA_3_8B], ids=lambda model: model.name)
@pytest.mark.parametrize("op", SPECS)
def test_a_model_has_cases_of_every_operation(op: str, model: Any, step: StepShape) -> None:
    spec = spec_of(op)
    for case in spec.of_model(model, step).values():
        work = spec.work(case, torch.bfloat16)
        assert work.bytes_moved > 0
        assert work.flops >= 0


def test_work_by_hand() -> None:
    """SmolLM2-135M, bfloat16: o is 576 x 576, at two rows; attention of one token to 10 cached."""
    linear = spec_of("linear").of_model(SMOLLM2_135M, StepShape(batch=2, context=10))["o"]
    work = spec_of("linear").work(linear, torch.bfloat16)
    assert work.bytes_moved == 2 * (576 * 576 + 2 * 576 + 2 * 576)
    assert work.flops == 2 * 2 * 576 * 576
    (attention,) = spec_of("paged_attention").of_model(SMOLLM2_135M, StepShape(1, 10)).values()
    work = spec_of("paged_attention").work(attention, torch.bfloat16)
    assert work.bytes_moved == 2 * (2 * 9 * 64 + 2 * 10 * 3 * 64)
    assert work.flops == 2 * 2 * 10 * 9 * 64
    (prefill,) = spec_of("paged_attention").of_model(SMOLLM2_135M, StepShape(prompt=4)).values()
    assert spec_of("paged_attention").work(prefill, torch.float32).flops == 4 * 10 * 9 * 64


def test_work_of_floats_and_of_a_step_by_hand() -> None:
    """o of SmolLM2-135M in e4m3 with a scale a row, and in e2m1 with one a block of 16 or 32; a
    layer of it, of 3,538,944 weights, with a vocabulary of 1024, over 10 tokens."""
    step, size = StepShape(batch=2, context=10), 576 * 576
    for op, name, weight_bytes in (
        ("fp8_linear", "o", size + 4 * 576),
        ("fp4_linear", "o, nvfp4", size // 2 + size // 16 + 4),
        ("fp4_linear", "o, mxfp4", size // 2 + size // 32),
    ):
        work = spec_of(op).work(spec_of(op).of_model(SMOLLM2_135M, step)[name], torch.bfloat16)
        assert work.bytes_moved == weight_bytes + 2 * (2 * 576 + 2 * 576)
        assert work.flops == 2 * 2 * size
    layers = spec_of("decoder_step").of_model(SMOLLM2_135M, StepShape(1, 10))
    work = spec_of("decoder_step").work(layers["layer"], torch.bfloat16)
    weights = 3_538_944 + 1024 * 576
    cached, others = 2 * 10 * 3 * 64, 3 * 576 + 576 + 1024  # norms, a token's embedding, logits
    assert work.bytes_moved == 2 * (weights + cached + others)
    assert work.flops == 2 * weights + 4 * 10 * 9 * 64
    eight_bit = spec_of("decoder_step").work(layers["layer, fp8 cache"], torch.bfloat16)
    # A code of a byte instead of two, and two bytes of scale for each of 10 tokens' 3 heads.
    assert eight_bit.bytes_moved == work.bytes_moved - cached + 2 * 2 * 10 * 3
    assert eight_bit.flops == work.flops


def test_the_same_seed_draws_the_same_and_another_does_not() -> None:
    def drawn(seed: int) -> torch.Tensor:
        spec = spec_of("silu_mul")
        from llmbench.kernels.specs.spec import Draw

        return spec.make(spec.cases["rows: many"], Draw(CPU, torch.float32, seed)).arguments[0]

    assert torch.equal(drawn(3), drawn(3))
    assert not torch.equal(drawn(3), drawn(4))
