"""Kernels that Triton compiles inside a measurement: told by Triton itself, of one that is compiled
here for a GPU that is not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from llmbench.harness.machine import compiles
from llmbench.harness.machine.compiles import Compiles, check_compiles, counting_compiles

from ...kernels.triton_launches import launches


@pytest.fixture
def fresh_cache(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))


@pytest.mark.usefixtures("fresh_cache")
def test_a_kernel_is_counted_when_it_is_compiled_and_not_when_it_is_read() -> None:
    from llmbench.kernels.triton.activation import silu_mul

    with launches("activation_kernel.silu_mul_kernel") as seen:
        silu_mul(torch.zeros(3, 64))
    with counting_compiles() as first:
        seen[0].compile("sm_90")
    with counting_compiles() as second:
        seen[0].compile("sm_90")
    assert first is not None
    assert second is not None
    assert first.kernels == {"silu_mul_kernel": 1}
    assert first.seconds > 0
    assert second.kernels == {}


def test_another_listener_hears_on_and_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    knobs = pytest.importorskip("triton").knobs
    heard: list[Any] = []
    monkeypatch.setattr(knobs.compilation, "listener", lambda **told: heard.append(told))
    other = knobs.compilation.listener
    told: dict[str, Any] = {
        "src": SimpleNamespace(name="a_kernel"),
        "times": SimpleNamespace(total=2_500_000),
        "metadata": {},
        "metadata_group": {},
        "cache_hit": False,
    }
    with counting_compiles() as found:
        knobs.compilation.listener(**told)
    assert found is not None
    assert (found.kernels, found.seconds) == ({"a_kernel": 1}, 2.5)
    assert heard == [told]
    assert knobs.compilation.listener is other


def test_without_triton_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiles, "sys", SimpleNamespace(modules={}))
    with counting_compiles() as found:
        assert found is None


def test_what_is_said_of_compiled_kernels() -> None:
    found = Compiles()
    assert check_compiles(found).ok
    for name, seconds in (("b", 1.0), ("a", 2.0), ("b", 4.25)):
        found.add(name, seconds)
    check = check_compiles(found)
    assert (check.ok, check.fatal, check.value) == (False, False, 3)
    assert check.told == (
        "3 kernels were compiled while requests were measured, for 7.2 s: a, b (2 times): run it "
        "again, for they are kept on disk, or give more --warmup-requests"
    )
