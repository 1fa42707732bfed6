"""Where keys and values lie."""

from __future__ import annotations

import pytest
import torch
from llmbench.engines.models.catalogue import resolve_model
from llmbench.engines.models.config import ModelConfig
from llmbench.engines.models.kv_tensors import KVTensors, allocate_contiguous, allocate_paged
from llmbench.engines.models.loader import load_config

from ...kernels.mappings import linux_with_huge_pages, pages_given

CPU = torch.device("cpu")
SLOTS = 16 * 4096


@pytest.fixture(scope="module")
def config() -> ModelConfig:
    return load_config(resolve_model("bundled").directory)


@linux_with_huge_pages
@pytest.mark.parametrize("kv_dtype", ["auto", "int8", "fp8"])
@pytest.mark.parametrize("kind", ["paged", "contiguous"])
def test_no_step_waits_for_memory(config: ModelConfig, kind: str, kv_dtype: str) -> None:
    """Whatever the layout: else the one that uses more of its pool would seem the slower."""

    def allocate() -> KVTensors:
        if kind == "paged":
            return allocate_paged(config, SLOTS // 16, 16, torch.bfloat16, CPU, kv_dtype)
        return allocate_contiguous(config, SLOTS, torch.bfloat16, CPU, kv_dtype)

    made: list[KVTensors] = []
    assert pages_given(lambda: made.append(allocate())) >= 8

    def write() -> None:
        for tensor in made[0].tensors:
            tensor.view(torch.uint8).fill_(1)

    assert made[0].nbytes > 16 << 20
    assert pages_given(write) < 8
