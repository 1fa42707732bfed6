"""Whether kernels of one's own were verified is said of every run that has some."""

from __future__ import annotations

import pytest
import torch
from llmbench.engines.config import engine_config
from llmbench.engines.models.catalogue import resolve_model
from llmbench.engines.models.describe import describe_model
from llmbench.engines.models.fused import select_step
from llmbench.engines.resolve import resolve
from llmbench.harness.bench.verify_kernels import check_decode_step, check_own, verify_kernels
from llmbench.kernels import registry
from llmbench.kernels.dispatch import Implementation
from llmbench.kernels.errors import KernelError
from llmbench.kernels.registry import anywhere, reference
from torch import Tensor


def test_kernels_of_ones_own_are_a_caution_until_they_are_verified() -> None:
    assert check_own(("silu_mul=torch", "rope=reference"), verified=False) is None
    choices = ("silu_mul=mine.py", "rope=torch", "rms_norm=pack.norms:fast")
    found = check_own(choices, verified=False)
    assert found is not None
    assert not found.ok
    assert not found.fatal
    assert found.detail.startswith(
        "own kernels silu_mul=mine.py, rms_norm=pack.norms:fast were not verified; --verify-kernels"
    )
    one = check_own(choices[:2], verified=True)
    assert one is not None
    assert one.ok
    assert one.detail == "own kernel silu_mul=mine.py was verified before the run"


@pytest.mark.skipif(
    select_step(torch.device("cpu"), torch.bfloat16) is None, reason="no native kernels here"
)
def test_who_forces_an_operation_is_told_that_the_decode_step_is_taken_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By it `ab` called a copy of our own kernel four times as slow."""
    files = resolve_model("bundled")

    def found(*kernels: str, dtype: str = "bfloat16") -> str:
        engine = engine_config("paged", dtype=dtype, force_kernels=kernels)
        check = check_decode_step(resolve(engine, files))
        return "" if check is None else check.told

    assert found("silu_mul=torch", "argmax=torch") == (
        "decode steps were computed operation by operation, and not in one kernel, for silu_mul is "
        "forced: hold it against a run that forces ours (llmbench kernels list)"
    )
    assert found() == found("argmax=torch") == found("decoder_step=reference") == ""
    assert found("silu_mul=torch", dtype="float32") == ""
    step = select_step(torch.device("cpu"), torch.bfloat16)
    own = Implementation("rope", "own", lambda q, k, *_: (q, k), anywhere, 200)
    monkeypatch.setitem(registry._registered["rope"], "own", own)
    assert found() == (
        "decode steps were computed operation by operation, and not in one kernel, for rope is "
        f"computed by an installed kernel: --kernel decoder_step={step} passes it over"
    )
    assert "for silu_mul is forced and rope is computed" in found("silu_mul=torch")


@pytest.mark.parametrize(("budget", "found"), [(2048, "prefill 1023"), (600, "prefill 600")])
def test_a_kernel_that_is_wrong_in_long_prompts_alone_is_refused(
    budget: int, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No case had more than 40 rows, and a run of perplexity 8651 was called verified."""

    def by_tiles(gate_up: Tensor) -> Tensor:
        rows = gate_up.clone()
        rows[512:] = gate_up[:1]
        return reference("silu_mul").function(rows)

    own = Implementation("silu_mul", "own", by_tiles, anywhere, 200)
    monkeypatch.setitem(registry._registered["silu_mul"], "own", own)
    files = resolve_model("bundled")
    engine = resolve(
        engine_config(
            "paged",
            dtype="float32",
            force_kernels=("silu_mul=own",),
            max_model_len=budget,
            max_num_batched_tokens=budget,
        ),
        files,
    )
    config = describe_model(files.directory, engine.model_impl).config
    with pytest.raises(KernelError, match=f"silu_mul: 'own' .* case '{found}, gate of "):
        verify_kernels(engine, files, config)
