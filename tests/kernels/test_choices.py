"""What `--kernel op=what` may name, and how a user's file is refused."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from llmbench.kernels import choices, registry
from llmbench.kernels.choices import load_plugin, resolve_choices
from llmbench.kernels.registry import KernelError, implementations, select

CPU = torch.device("cpu")

GOOD = """
from llmbench.kernels.plugin import implements
import torch.nn.functional as F

@implements("silu_mul", backend="mine")
def gate(gate_up):
    gate, up = gate_up.chunk(2, dim=-1)
    return F.silu(gate) * up

def plain(gate_up):
    return gate(gate_up)
"""


@pytest.fixture(autouse=True)
def _nothing_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    for op in registry.OPS:
        implementations(op)
        monkeypatch.setitem(registry._registered, op, dict(registry._registered[op]))
    choices._imported.cache_clear()


def written(folder: Path, text: str, name: str = "gates.py") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def test_a_registered_name_stays_a_name() -> None:
    assert resolve_choices(["silu_mul=torch", "rope=reference"]) == {
        "silu_mul": "torch",
        "rope": "reference",
    }


def test_what_cannot_run_here_is_not_suggested(monkeypatch: pytest.MonkeyPatch) -> None:
    registered = registry._registered["silu_mul"]
    here = replace(registered["torch"], name="native-here")
    nearer = replace(here, name="native-x", needs=lambda: "the processor has no x")
    monkeypatch.setitem(registry._registered, "silu_mul", {one.name: one for one in (here, nearer)})
    with pytest.raises(KernelError, match=r"native-here, native-x .did you mean 'native-here'"):
        resolve_choices(["silu_mul=native-y"])


def test_a_file_is_loaded_once_and_its_kernel_is_used(tmp_path: Path) -> None:
    place = written(tmp_path, GOOD)
    for _ in range(2):
        assert resolve_choices([f"silu_mul={place}"]) == {"silu_mul": "mine"}
    chosen = select("silu_mul", CPU, torch.float32, {"silu_mul": "mine"})
    assert chosen.function(torch.ones(1, 4)).shape == (1, 2)


def test_a_file_is_one_by_whatever_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rms_norm = """
@implements("rms_norm", backend="mine")
def rms_norm(x, weight, eps):
    return F.rms_norm(x, weight.shape, weight, eps)
"""
    place = written(tmp_path, GOOD + rms_norm)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    expected = {"silu_mul": "mine", "rms_norm": "mine"}
    assert resolve_choices(["silu_mul=gates.py", "rms_norm=./gates.py"]) == expected
    assert resolve_choices([f"silu_mul={place}", "rms_norm=~/gates.py"]) == expected


def test_a_function_that_is_not_registered_is_named_and_only_used_when_forced(
    tmp_path: Path,
) -> None:
    place = written(tmp_path, GOOD)
    assert load_plugin("silu_mul", f"{place}:gate") == "mine"
    assert load_plugin("silu_mul", f"{place}:plain") == "gates:plain"
    assert load_plugin("silu_mul", f"{place}:plain") == "gates:plain"
    assert implementations("silu_mul")[-1].name == "gates:plain"


def test_a_module_is_named_as_an_entry_point_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, GOOD, "my_gates.py")
    monkeypatch.syspath_prepend(tmp_path)
    assert load_plugin("silu_mul", "my_gates:plain") == "my_gates:plain"
    del sys.modules["my_gates"]


def test_files_of_one_name_are_two_kernels(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    load_plugin("silu_mul", written(tmp_path, GOOD))
    other = written(tmp_path / "other", GOOD.replace("mine", "other"))
    assert load_plugin("silu_mul", other) == "other"


CLASS = """
from llmbench.kernels.plugin import implements

@implements("w8a8_linear", backend="mine")
class Mine:
    def __init__(self, weight, bias, dtype): ...
    def __call__(self, x): ...
    weight_bytes = 0
"""


STEP = """
from llmbench.kernels.plugin import implements

@implements("decoder_step", backend="mine")
class Mine:
    attention_s = weight_bytes = 0
    def __init__(self, weights): ...
    def head_bytes(self, rows, argmax_only=False): ...
    def takes(self, cache, batch, rows): ...
    def __call__(
        self, token_ids, positions, cache, batch, slot_mapping, logit_rows, argmax_only=False
    ): ...
"""


def test_a_class_is_checked_whole(tmp_path: Path) -> None:
    assert load_plugin("w8a8_linear", written(tmp_path, CLASS)) == "mine"
    assert load_plugin("decoder_step", written(tmp_path, STEP, "steps.py")) == "mine"


@pytest.mark.parametrize(
    ("op", "text", "message"),
    [
        ("silu_mul", "import no_such_thing", "does not import: ModuleNotFoundError: No module"),
        ("silu_mul", "def f(:", "does not import: SyntaxError"),
        ("silu_mul", "import sys; sys.exit(0)", "does not import: SystemExit: 0"),
        ("silu_mul", "raise RuntimeError('line\\nbreak')", "RuntimeError: line break"),
        ("silu_mul", "", r"registers 0 implementations of it \(none\)"),
        (
            "silu_mul",
            GOOD.replace("def gate(gate_up)", "def gate(x)"),
            r"silu_mul: 'mine' has 'x' where 'gate_up' belongs; expected silu_mul\(gate_up\)",
        ),
        (
            "silu_mul",
            GOOD.replace("def gate(gate_up)", "def gate(gate_up, size)"),
            "needs 'size', which no call gives",
        ),
        ("silu_mul", GOOD.replace("def gate(gate_up)", "def gate()"), "no parameter 'gate_up'"),
        ("silu_mul", GOOD.replace("silu_mul", "silu_mull"), "did you mean 'silu_mul'"),
        ("silu_mul", GOOD.replace('"mine"', '"torch"'), "registered twice; choose another backend"),
        (
            "w8a8_linear",
            CLASS.replace("self, x", "self, rows"),
            r"'mine.__call__' has 'rows' where 'x' belongs; expected __call__\(x\)",
        ),
        ("w8a8_linear", CLASS.replace("weight_bytes", "size"), "has no weight_bytes"),
        ("w8a8_linear", CLASS.replace("bias, ", ""), "has 'dtype' where 'bias' belongs"),
        ("decoder_step", STEP.replace("head_bytes", "size"), "has no head_bytes, which the refer"),
        ("decoder_step", STEP.replace("def takes", "def is_for"), "has no takes, which the refer"),
        (
            "decoder_step",
            STEP.replace(", argmax_only=False\n", "\n"),
            "'mine.__call__' has no parameter 'argmax_only'",
        ),
    ],
)
def test_a_file_that_is_no_kernel_is_refused_in_one_line(
    op: str, text: str, message: str, tmp_path: Path
) -> None:
    place = written(tmp_path, text)
    before = {name: list(found) for name, found in registry._registered.items()}
    with pytest.raises(KernelError, match=message) as caught:
        load_plugin(op, place)
    assert "\n" not in str(caught.value)
    assert {name: list(found) for name, found in registry._registered.items()} == before


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("silu_mul", "not of the form op=implementation"),
        ("silu_mull=torch", "did you mean 'silu_mul'"),
        ("silu_mul=torhc", "did you mean 'torch'"),
        ("silu_mul=no/such.py", "kernel: 'no/such.py' is not allowed; expected a Python file"),
        ("silu_mul=no/such.py:f", "kernel: 'no/such.py' is not allowed; expected a Python file"),
        ("silu_mul=/", "kernel: '/' is not allowed; expected a Python file"),
        ("silu_mul=gates.cpp", "kernel: .gates.cpp. is not allowed; expected a Python file, which"),
        ("silu_mul=here/gates.cu:f", "expected a Python file, which may have it compiled"),
        ("silu_mul=no_such_module:f", "does not import: ModuleNotFoundError"),
        ("silu_mul=llmbench.kernels.plugin:nothing", "has no 'nothing'"),
    ],
)
def test_a_choice_that_names_nothing(choice: str, message: str) -> None:
    with pytest.raises(KernelError, match=message):
        resolve_choices([choice])


def test_one_operation_is_chosen_once() -> None:
    with pytest.raises(KernelError, match="both 'torch' and 'reference'"):
        resolve_choices(["silu_mul=torch", "silu_mul=reference"])
