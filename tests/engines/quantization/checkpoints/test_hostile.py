"""Directories that are not as they should be, in every way that a user may meet: one line that
names the tensor, the field or the file, and never a traceback."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from llmbench.engines.models.loader import INDEX_FILE, load_model_directory
from llmbench.engines.quantization.checkpoints.read import read_checkpoint
from llmbench.engines.quantization.checkpoints.report import REPORT_FILE
from llmbench.engines.quantization.checkpoints.write import write_checkpoint
from llmbench.engines.quantization.scheme import Scheme
from llmbench.harness.cli import main
from safetensors.torch import load_file, save_file
from torch import Tensor

from .directories import (
    WEIGHTS,
    change_config,
    change_tensors,
    plain_directory,
    problem_of,
    rounded,
)

Q = "model.layers.0.self_attn.q_proj"
# What a format's directory is written from.
SCHEMES = {
    "gptq": Scheme("gptq", 4, 32),
    "awq": Scheme("awq", 4, 32, symmetric=False),
    "int4": Scheme("w4a16", 4, 32),
    "w8a8": Scheme("w8a8", 8),
    "fp8": Scheme("fp8", 8),
    "fp8-static": Scheme("fp8-static", 8),
    "nvfp4": Scheme("nvfp4", 4),
    "mxfp4": Scheme("mxfp4", 4),
}


def written(tmp_path: Path, name: str = "gptq", shards: int = 1) -> Path:
    source, out = plain_directory(tmp_path / "plain"), tmp_path / "out"
    format = name if name in ("gptq", "awq") else "compressed-tensors"
    size = 2**30 if shards == 1 else 40_000
    write_checkpoint(rounded(SCHEMES[name]), source, out, format, shard_bytes=size)
    return out


def read_all(path: Path) -> None:
    _, model = read_checkpoint(path)
    assert all(model.maps[name] is not None for name in model.maps)


Change = Callable[[Path], Any]


def tensor(name: str, value: Tensor | None) -> Change:
    return lambda path: change_tensors(path, **{f"{Q}.{name}".replace(".", "__"): value})


def spoilt(name: str, value: float) -> Change:
    """One number of a tensor."""

    def change(path: Path) -> None:
        stored = load_file(path / WEIGHTS)[f"{Q}.{name}"]
        wide = stored.float().flatten()
        wide[5] = value
        tensor(name, wide.view(stored.shape).to(stored.dtype))(path)

    return change


def text(file: str, content: str | bytes) -> Change:
    data = content.encode() if isinstance(content, str) else content
    return lambda path: (path / file).write_bytes(data)


def loop(file: str) -> Change:
    def change(path: Path) -> None:
        (path / file).unlink(missing_ok=True)
        (path / file).symlink_to(file)

    return change


def folder(file: str) -> Change:
    def change(path: Path) -> None:
        (path / file).unlink(missing_ok=True)
        (path / file).mkdir()

    return change


def setting(**changes: object) -> Change:
    return lambda path: change_config(path, **changes)


NAN, INF = float("nan"), float("inf")
BAD: dict[str, tuple[str, Change, str]] = {
    "config with a BOM": ("gptq", lambda p: bom(p / "config.json"), "config.json' is not JSON"),
    "config in UTF-16": ("gptq", text("config.json", "{}".encode("utf-16")), "is not JSON"),
    "config nested too deeply": ("gptq", text("config.json", "[" * 99_999), "is not JSON"),
    "config that is a folder": ("gptq", folder("config.json"), "cannot be read (Is a directory)"),
    "config that is a loop": ("gptq", loop("config.json"), "cannot be read (Too many levels"),
    "weights that are a loop": ("gptq", loop(WEIGHTS), "has no weights"),
    "weights that are a folder": ("gptq", folder(WEIGHTS), "has no weights"),
    "bits as a text": ("gptq", setting(bits="4"), "bits: '4' is not supported"),
    "group size 0": ("gptq", setting(group_size=0), "group_size: 0 is neither"),
    "group size -2": ("awq", setting(group_size=-2), "group_size: -2 is neither"),
    "group size of a text": ("awq", setting(group_size="32"), "group_size: '32' is not a whole"),
    "names that are a text": (
        "awq",
        setting(modules_to_not_convert="lm_head"),
        "modules_to_not_convert: 'lm_head' is not a list of names",
    ),
    "rules that are a list": ("gptq", setting(dynamic=[1]), "dynamic: [1] is not a mapping"),
    "rule that is a number": ("gptq", setting(dynamic={".*": 8}), "dynamic..*: 8 is not a mapping"),
    "modules that are a number": (
        "gptq",
        setting(modules_in_block_to_quantize=5),
        "modules_in_block_to_quantize: 5 is not a list of lists",
    ),
    "sparsity that is a text": ("int4", setting(sparsity_config="x"), "sparsity_config: 'x' is no"),
    "groups that are a list": ("int4", setting(config_groups=[]), "config_groups: [] is not a"),
    "qweight of floats": (
        "gptq",
        tensor("qweight", torch.zeros(8, 64)),
        f"'{Q}.qweight' as F32; expected one of I32",
    ),
    "qweight of 64 bits": (
        "awq",
        tensor("qweight", torch.zeros(64, 8, dtype=torch.int64)),
        f"'{Q}.qweight' as I64; expected one of I32",
    ),
    "a row too many": (
        "gptq",
        tensor("scales", torch.ones(3, 64).half()),
        f"'{Q}.scales' of shape [3, 64]; its config.json asks for [2, 64]",
    ),
    "a column too few": (
        "awq",
        tensor("qzeros", torch.zeros(2, 7, dtype=torch.int32)),
        f"'{Q}.qzeros' of shape [2, 7]",
    ),
    "a tensor of nothing": ("gptq", tensor("scales", torch.ones(0, 64).half()), "shape [0, 64]"),
    "a tensor without axes": ("w8a8", tensor("weight", torch.tensor(1).char()), "of shape []"),
    "a bias of codes": (
        "gptq",
        tensor("bias", torch.zeros(64).to(torch.float8_e4m3fn)),
        f"has the tensor '{Q}.bias', which",
    ),
    "NaN in scales, gptq": ("gptq", spoilt("scales", NAN), f"'{Q}.scales' holds numbers that"),
    "infinity in scales, awq": ("awq", spoilt("scales", INF), f"'{Q}.scales' holds numbers"),
    "NaN in scales, int4": ("int4", spoilt("weight_scale", NAN), f"'{Q}.weight_scale' holds"),
    "NaN in scales, w8a8": ("w8a8", spoilt("weight_scale", NAN), f"'{Q}.weight_scale' holds"),
    "NaN in codes, fp8": ("fp8", spoilt("weight", NAN), f"'{Q}' cannot be read: codes hold NaN"),
    "NaN in scales, nvfp4": ("nvfp4", spoilt("weight_scale", NAN), f"'{Q}' cannot be read: e4m3"),
    "NaN in scales, mxfp4": ("mxfp4", spoilt("weight_scale", 255), f"'{Q}' cannot be read: e8m0"),
    "scale below 0, fp8": (
        "fp8",
        spoilt("weight_scale", -1),
        f"'{Q}' cannot be read: its weight_s",
    ),
    "scale below 0, nvfp4": ("nvfp4", spoilt("weight_scale", -1), "its weight_scale holds -1.0, b"),
    "inputs' scale 0, fp8": (
        "fp8-static",
        tensor("input_scale", torch.zeros(1)),
        f"'{Q}' cannot be read: its input_scale 0.0 is not above 0",
    ),
    "inputs' scale below 0, fp8": (
        "fp8-static",
        tensor("input_scale", torch.tensor([-0.5])),
        "its input_scale -0.5 is not above 0",
    ),
    "factor whose reciprocal overflows": (
        "nvfp4",
        tensor("weight_global_scale", torch.tensor([1e-45])),
        f"'{Q}' cannot be read: its weight_global_scale 1.4013e-45 makes weights that float32",
    ),
    "factor that makes weights overflow": (
        "nvfp4",
        tensor("weight_global_scale", torch.tensor([1e-38])),
        "makes weights that float32 does not hold",
    ),
    "power that overflows, mxfp4": (
        "mxfp4",
        spoilt("weight_scale", 254),
        f"'{Q}' cannot be read: its weight_scale holds 254: 2^127",
    ),
    "zero points without any, awq": (
        "awq",
        setting(zero_point=False),
        "' cannot be read: its qzeros hold ",
    ),
    "versions confused, gptq": (
        "gptq",
        setting(checkpoint_format="gptq_v2"),
        f"'{Q}' cannot be read: its qzeros hold 7, and sym: true has zero points of 8 only; they "
        "would be, were checkpoint_format 'gptq'",
    ),
    "group of no input": (
        "gptq",
        tensor("g_idx", torch.full((64,), -1, dtype=torch.int32)),
        "g_idx does not put inputs in 2 groups of 32",
    ),
    "a report that is cut off": ("gptq", text(REPORT_FILE, "[{"), f"{REPORT_FILE}' is no report"),
    "a report of something": (
        "gptq",
        text(REPORT_FILE, '{"a": 1}'),
        f"{REPORT_FILE}' is no report",
    ),
}


def bom(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_named_in_one_line(name: str, tmp_path: Path) -> None:
    form, change, message = BAD[name]
    out = written(tmp_path, form)
    change(out)
    assert message in problem_of(lambda: read_all(out))


def index_of(path: Path) -> dict[str, Any]:
    return json.loads((path / INDEX_FILE).read_text())


def change_index(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    index = index_of(path)
    change(index["weight_map"])
    (path / INDEX_FILE).write_text(json.dumps(index))


def cut_index(path: Path) -> None:
    os.truncate(path / INDEX_FILE, (path / INDEX_FILE).stat().st_size // 2)


def copy_tensor(path: Path) -> None:
    """The first shard's `model.norm.weight`, or another, into the second."""
    shards = sorted(path.glob("*.safetensors"))
    first, second = (load_file(shard) for shard in shards[:2])
    name = sorted(first)[0]
    save_file({**second, name: first[name]}, shards[1])


def stray_tensor(path: Path) -> None:
    shard = sorted(path.glob("*.safetensors"))[0]
    save_file({**load_file(shard), "stray": torch.zeros(1)}, shard)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (cut_index, f"{INDEX_FILE}' is not JSON"),
        (text(INDEX_FILE, "{}"), "has no weight_map"),
        (text(INDEX_FILE, '{"weight_map": ["a"]}'), "has no weight_map"),
        (lambda p: change_index(p, lambda m: m.update(a=5)), "puts 'a' in 5; expected a file's"),
        (lambda p: change_index(p, lambda m: m.update(a="../b")), "puts 'a' in '../b'; expected"),
        (lambda p: change_index(p, lambda m: m.update(a="b")), "lacks the shard 'b' of its index"),
        (
            lambda p: change_index(p, lambda m: m.update(ghost=next(iter(m.values())))),
            "lacks the tensor 'ghost' of its index",
        ),
        (copy_tensor, "which another shard has, too"),
        (stray_tensor, "has the tensor 'stray', which its config.json does not"),
    ],
    ids=["cut off", "empty", "list", "number", "path", "shard", "ghost", "twice", "stray"],
)
@pytest.mark.parametrize("plain", [True, False], ids=["plain", "quantised"])
def test_an_index_that_is_wrong(plain: bool, change: Change, message: str, tmp_path: Path) -> None:
    out = written(tmp_path, shards=2)
    if plain:
        names = split(tmp_path / "plain")
        assert len(names) == 2
        change(tmp_path / "plain")
        assert message in problem_of(lambda: load_model_directory(tmp_path / "plain"))
        return
    assert len(list(out.glob("*.safetensors"))) > 1
    change(out)
    assert message in problem_of(lambda: read_all(out))


def split(path: Path) -> list[str]:
    """A plain model into two shards with an index."""
    tensors = load_file(path / WEIGHTS)
    (path / WEIGHTS).unlink()
    names = sorted(tensors)
    weight_map = {}
    for shard, part in (("a.safetensors", names[::2]), ("b.safetensors", names[1::2])):
        save_file({name: tensors[name] for name in part}, path / shard)
        weight_map |= dict.fromkeys(part, shard)
    (path / INDEX_FILE).write_text(json.dumps({"weight_map": weight_map}))
    return sorted(set(weight_map.values()))


def test_weights_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """safetensors itself says that there is no such file."""
    out = written(tmp_path)
    opened = Path.open

    def refuse(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.name == WEIGHTS:  # root, who may run this, may read everything
            raise PermissionError(13, os.strerror(13))
        return opened(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    said = problem_of(lambda: read_all(out))
    assert said.endswith(f"{WEIGHTS}' cannot be read (Permission denied)")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("a" * 5000, "error: model:"),
        ("~nobody-of-this-name/model", "does not exist"),
        ("loop", "error: model:"),
        ("locked/model", "error: model:"),
    ],
    ids=["too long", "no home", "loop", "locked"],
)
def test_a_directory_that_cannot_be_looked_up(
    model: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """By the command, which leaves with the code of a user's error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("COLUMNS", "10000")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "locked").mkdir(mode=0o000)
    with pytest.raises(SystemExit) as left:
        main(["run", "--model", model, "--out", str(tmp_path / "out")])
    assert left.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert message in lines[-1]
    assert not any("Traceback" in line for line in lines)


def test_the_command_says_what_is_wrong_with_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "10000")
    out = written(tmp_path)
    spoilt("scales", NAN)(out)
    with pytest.raises(SystemExit) as left:
        main(["run", "--model", str(out), "--num-requests", "1", "--out", str(tmp_path / "run")])
    assert left.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("error: ")
