"""Names of models to directories on this machine."""

from __future__ import annotations

import hashlib
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from huggingface_hub.utils import hf_raise_for_status
from llmbench.engines.errors import ConfigError, ModelError
from llmbench.engines.models import smollm2
from llmbench.engines.models.catalogue import (
    _HUB_FILES,
    cache_directory,
    list_models,
    resolve_dummy,
    resolve_model,
)
from llmbench.engines.quantization.checkpoints.write import _COMPANIONS

from .conftest import Saved

# httpx or httpx2, as the hub's library has it.
_CLIENT: Any = import_module(HfHubHTTPError.__bases__[0].__module__.partition(".")[0])


def test_bundled_is_in_the_package() -> None:
    files = resolve_model("bundled")
    weights = (files.directory / "model.safetensors").read_bytes()
    assert files.revision == f"sha256:{hashlib.sha256(weights).hexdigest()[:12]}"
    assert files.caveat == ""


def test_smollm2_is_pulled_into_the_cache_and_says_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMBENCH_CACHE", str(tmp_path))
    smollm2.cached_directory(tmp_path).mkdir()
    files = resolve_model("smollm2-135m")
    assert files.directory == smollm2.cached_directory(tmp_path)
    assert files.revision == "gguf-sha256:b179c9523d0e"
    assert "4-bit grid" in files.caveat


def test_list_says_what_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMBENCH_CACHE", str(tmp_path))
    present = {entry.name: entry.present for entry in list_models()}
    assert present == {"bundled": True, "smollm2-135m": False}


def test_cache_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMBENCH_CACHE", "/some/where")
    assert cache_directory() == Path("/some/where")
    monkeypatch.delenv("LLMBENCH_CACHE")
    assert cache_directory() == Path.home() / ".cache" / "llmbench"


def test_cache_that_cannot_hold_a_known_shape_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("LLMBENCH_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(ModelError, match=r"LLMBENCH_CACHE: '.*file/cache' cannot hold the model"):
        resolve_dummy("llama-3-8b")


def test_directory(tmp_path: Path) -> None:
    assert resolve_model(str(tmp_path)).directory == tmp_path.resolve()


@pytest.mark.parametrize("name", ["smollm2", "smolm2-135m", "SmolLM2-135M"])
def test_unknown_name_has_the_nearest_spelling(name: str) -> None:
    with pytest.raises(ConfigError) as refused:
        resolve_model(name)
    assert str(refused.value) == (
        f"model: {name!r} is not allowed; expected one of bundled, smollm2-135m, a model "
        "directory or a hub id org/name (did you mean 'smollm2-135m'?)"
    )


@pytest.mark.parametrize("name", ["./place", "../place", "/no/such/place", "no/such/place"])
def test_directory_that_is_not_there(name: str) -> None:
    with pytest.raises(ModelError, match="does not exist"):
        resolve_model(name)


@pytest.mark.parametrize("name", ["nosuchtok", "./place", "llama-3-8b"])
def test_an_error_names_the_setting_that_asked(name: str) -> None:
    with pytest.raises(ConfigError, match=f"^tokenizer: '{name}'"):
        resolve_model(name, field="tokenizer")


def test_file_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelError, match="is a file; expected a directory"):
        resolve_model(str(tmp_path / "model.gguf"))


class FakeHub:
    """Stands in for snapshot_download: a snapshot on disk, or an error."""

    def __init__(self, answer: Path | Exception) -> None:
        self.answer = answer
        self.asked: list[list[str]] = []

    def __call__(self, _name: str, *, allow_patterns: list[str]) -> str:
        self.asked.append(allow_patterns)
        if isinstance(self.answer, Exception):
            raise self.answer
        return str(self.answer)


def resolve_on(hub: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub)
    return resolve_model("some-org/some-model")


@pytest.mark.parametrize("name", [*_COMPANIONS, "chat_template.jinja", "sentencepiece.bpe.model"])
def test_what_stands_beside_weights_is_fetched_with_them(name: str) -> None:
    """All that a model that is written here takes along, its chat template above all."""
    assert any(fnmatch(name, pattern) for pattern in _HUB_FILES)


def test_hub_id_is_fetched_and_known_by_its_commit(
    saved_llama: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = tmp_path / "snapshots" / "0123abcd"
    snapshot.parent.mkdir()
    snapshot.symlink_to(saved_llama.directory)
    hub = FakeHub(snapshot)
    files = resolve_on(hub, monkeypatch)
    assert (files.directory, files.revision) == (snapshot, "0123abcd")
    assert "model*.safetensors" in hub.asked[-1]


def test_unsupported_model_is_refused_before_its_weights_are_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "mamba"}')
    hub = FakeHub(tmp_path)
    with pytest.raises(ModelError, match="'MambaForCausalLM' keeps a recurrent state"):
        resolve_on(hub, monkeypatch)
    assert hub.asked == [["*config.json"]]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (LocalEntryNotFoundError("no\nnet"), "is no directory here nor in the hub's cache"),
        (OSError("disk full\nmore"), r"cannot be fetched from the hub \(disk full\)"),
        (_CLIENT.ProxyError("403 Forbidden"), r"cannot be fetched from the hub \(403 Forbidden\)"),
        (_CLIENT.RemoteProtocolError("cut"), r"cannot be fetched from the hub \(cut\)"),
        (_CLIENT.ReadTimeout(""), r"cannot be fetched from the hub \(ReadTimeout\)"),
    ],
)
def test_hub_that_cannot_be_reached(
    error: Exception, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelError, match=message) as refused:
        resolve_on(FakeHub(error), monkeypatch)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (401, "", "is not on the hub, or is private: check its spelling, or log in with"),
        (404, "RepoNotFound", "is not on the hub, or is private: check its spelling, or log in"),
        (403, "GatedRepo", "is gated: accept its conditions at https://huggingface.co/some-org/"),
        (404, "EntryNotFound", r"the hub \(Entry Not Found for url: https://huggingface.co/api"),
        (429, "", r"the hub \(429 Too Many Requests for url: "),
    ],
)
def test_what_the_hub_answers_is_said_in_a_line_that_helps(
    status: int, code: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Errors as the hub's own library makes them of answers; each has an id in its first line."""
    asked = _CLIENT.Request("GET", "https://huggingface.co/api/models/some-org/some-model")
    headers = {"X-Error-Code": code, "X-Request-Id": "Root=1-23"}
    answer = _CLIENT.Response(status, headers=headers, request=asked, json={"error": "no"})
    with pytest.raises(HfHubHTTPError) as raised:
        hf_raise_for_status(answer)
    with pytest.raises(ModelError, match=message) as refused:
        resolve_on(FakeHub(raised.value), monkeypatch)
    assert str(refused.value).startswith("model: 'some-org/some-model' ")
    assert "\n" not in str(refused.value)
