"""Whether kernels of one's own were verified is said of every run that has some."""

from __future__ import annotations

from llmbench.harness.bench.verify_kernels import check_own


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
