"""The worked examples of docs/kernels.md: built, and checked as a user would check them."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
import torch
from llmbench.kernels import registry
from llmbench.kernels.choices import load_plugin

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples" / "kernels"
DOCUMENT = EXAMPLES.parents[1] / "kernels.md"


def test_the_document_names_every_operation() -> None:
    text = DOCUMENT.read_text()
    assert [op for op in registry.OPS if f"`{op}`" not in text] == []


def checked(name: str, device: str) -> subprocess.CompletedProcess[str]:
    script = "from llmbench.harness.cli import main; main()"
    kernel = f"silu_mul={EXAMPLES / name}"
    return subprocess.run(
        [sys.executable, "-c", script, "kernels", "check", "--kernel", kernel, "--device", device],
        capture_output=True,
        text=True,
        check=False,
        env={name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"},
    )


def test_the_triton_example_is_right_in_the_interpreter() -> None:
    pytest.importorskip("triton")
    done = checked("silu_mul_triton.py", "cpu")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("interpreted") == 3


def test_the_pytorch_example_is_right() -> None:
    done = checked("silu_mul_torch.py", "cpu")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("torch-mine") == 3


@pytest.mark.skipif(shutil.which(os.environ.get("CXX", "g++")) is None, reason="no C++ compiler")
def test_the_cpp_example_is_right() -> None:
    done = checked("silu_mul_cpp.py", "cpu")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("my-cpp") == 1


def test_the_pytorch_kernel_of_the_document_is_one_as_printed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    registry.implementations("silu_mul")
    monkeypatch.setitem(registry._registered, "silu_mul", dict(registry._registered["silu_mul"]))
    printed = DOCUMENT.read_text().split("In PyTorch it is as short as this", 1)[1]
    path = tmp_path / "gates.py"
    path.write_text(printed.split("```python\n", 1)[1].split("```", 1)[0])
    assert load_plugin("silu_mul", str(path)) == "torch-mine"


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The Python side of the CUDA example; what it registers is forgotten afterwards."""
    registry.implementations("silu_mul")
    monkeypatch.setitem(registry._registered, "silu_mul", dict(registry._registered["silu_mul"]))
    spec = spec_from_file_location("silu_mul_cuda_example", EXAMPLES / "silu_mul_cuda.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_cuda_example_compiles_for_hopper(example: ModuleType, tmp_path: Path) -> None:
    if shutil.which("nvcc") is None:
        pytest.skip("nvcc is not on the path")
    library = example.build(tmp_path, "-arch=sm_90")
    # Loading it needs no GPU, and no CUDA library: nvcc links its runtime statically.
    launch = ctypes.CDLL(str(library)).silu_mul_launch
    nothing = ctypes.c_void_p(None)
    number = ctypes.c_longlong
    # No element, no launch; and a dtype that does not exist is said, not computed.
    assert launch(nothing, nothing, number(0), number(8), 0, nothing) == 0
    assert launch(nothing, nothing, number(1), number(8), 7, nothing) != 0
    assert example.build(tmp_path, "-arch=sm_90") == library
    assert [path.name for path in tmp_path.iterdir()] == [library.name]


@pytest.mark.usefixtures("example")
def test_the_cuda_example_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (one,) = [one for one in registry.implementations("silu_mul") if one.name == "my-cuda"]
    monkeypatch.setenv("PATH", str(tmp_path))
    assert one.why_not(torch.device("cuda"), torch.float16) == "nvcc is not on the path"


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", ["silu_mul_cuda.py", "silu_mul_torch.py", "silu_mul_triton.py"])
def test_the_examples_are_right_on_a_gpu(name: str) -> None:
    done = checked(name, "cuda")
    assert done.returncode == 0, done.stdout + done.stderr
