"""The protocol, and two real processes that serve the bundled model."""

from __future__ import annotations

import gc
import io
import json
import os
import select
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from llmbench.engines.errors import ConfigError
from llmbench.harness.ab import side as side_module
from llmbench.harness.ab.protocol import PROTOCOL, SideIdentity
from llmbench.harness.ab.side import (
    InvalidTrial,
    SideOptions,
    WorkerSide,
    both,
    check_kv_memory,
)
from llmbench.harness.ab.worker import serve
from llmbench.harness.errors import InvalidRun

ROOT = Path(__file__).resolve().parents[3]
OPTIONS = ["--threads", "1", "--warmup-requests", "0", "--max-output-len", "4"]


def _replies(*messages: object) -> list[dict[str, Any]]:
    lines = b"".join(json.dumps(message).encode() + b"\n" for message in messages)
    outgoing = io.BytesIO()
    serve(io.BytesIO(lines), outgoing)
    return [json.loads(line) for line in outgoing.getvalue().splitlines()]


def test_two_trees_serve_the_same_requests_and_wait_between() -> None:
    own = SideOptions("a", OPTIONS)
    with both(own, SideOptions("b", OPTIONS, ROOT)) as (a, b):
        for seed in (1, 2):
            before = a.cpu_s(), b.cpu_s()
            one = a.trial(seed, 6)
            assert b.cpu_s() - before[1] < a.cpu_s() - before[0]
            other = b.trial(seed, 6)
            assert one.fingerprint == other.fingerprint
            assert one.values["tpot.mean"] > 0
            assert one.duration_s > 0
        assert a.trial(3, 6).fingerprint != one.fingerprint
        with pytest.raises(ConfigError, match=r"num_requests"):
            a.trial(3, 0)
        # A mistake is answered, and the side goes on.
        assert a.trial(3, 4).fingerprint != one.fingerprint


def test_each_trial_finds_the_prefix_cache_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same prompts again would be in it whole, and those of a later trial in part."""
    from llmbench.harness.ab.worker import Worker
    from llmbench.harness.options.words import run_settings
    from llmbench.harness.run import drive as drive_module

    steps: list[Any] = []
    drive = drive_module.drive

    def watched(*arguments: Any) -> Any:
        seen = drive(*arguments)
        steps.extend(seen.steps)
        return seen

    monkeypatch.setattr(drive_module, "drive", watched)
    words = [*OPTIONS, "--engine", "vllm-v1", "--num-requests", "3"]
    worker = Worker(run_settings(words, "options"))
    for _ in range(2):
        worker.trial(1, 3)
    assert not any(step.chunks.cached for step in steps)


@pytest.mark.parametrize(
    ("message", "kind", "said"),
    [
        ({"op": "prepare", "protocol": PROTOCOL + 1}, "usage", f"expected {PROTOCOL}, which"),
        ({"op": "trial", "seed": 1, "num_requests": 1}, "usage", "expected prepare"),
        ({"op": "bogus"}, "usage", "bogus"),
        ([1], "crash", "not a message"),
        (
            {"op": "prepare", "protocol": PROTOCOL, "options": ["--bogus"], "field": "b"},
            "usage",
            "b: 'bogus' is not an option of 'llmbench run'",
        ),
        (
            {"op": "prepare", "protocol": PROTOCOL, "options": ["--model", "/no"], "field": "b"},
            "usage",
            "model",
        ),
    ],
)
def test_a_mistake_is_a_reply(message: object, kind: str, said: str) -> None:
    import re

    (reply,) = _replies(message, {"op": "stop"}, {"op": "bogus"})
    assert (reply["ok"], reply["kind"]) == (False, kind)
    assert re.search(said, reply["error"])
    assert "\n" not in reply["error"]


@pytest.mark.parametrize(
    ("sizes", "options", "refused"),
    [
        ((64, 64), ((), ()), False),
        ((64, 7), ((), ()), True),
        ((64, 7), (("--kv-memory", "64"), ()), True),
        ((64, 7), (("--kv-memory", "64"), ("--kv-memory=7",)), False),
    ],
    ids=["equal", "what the first left", "one was asked for", "both were asked for"],
)
def test_no_side_gets_less_memory_for_being_loaded_second(
    sizes: tuple[int, int], options: tuple[tuple[str, ...], ...], refused: bool
) -> None:
    asked = [SideOptions(name, words) for name, words in zip("ab", options, strict=True)]
    found = [
        SideIdentity(name, "0", 9, {"kv_memory_bytes": size})
        for name, size in zip("ab", sizes, strict=True)
    ]
    with pytest.raises(ConfigError, match="64 and 7 bytes") if refused else nullcontext():
        check_kv_memory(asked, found)


def test_a_trial_is_planned_beside_an_engine_that_has_taken_all_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on a GPU, where the default room for the KV cache is a share of what is free."""
    left = iter((2**26,))
    resolve = "llmbench.engines.resolve._default_kv_memory"
    monkeypatch.setattr(resolve, lambda *_: next(left, 1))
    asked = {"op": "prepare", "protocol": PROTOCOL, "options": OPTIONS, "field": "a"}
    try:
        prepared, trial = _replies(asked, {"op": "trial", "seed": 3, "num_requests": 2})
    finally:
        gc.unfreeze()
    assert prepared["config"]["kv_memory_bytes"] == 2**26
    assert trial["ok"], trial


def test_a_folder_that_is_no_tree_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a source tree of llmbench; it has no engines"):
        WorkerSide(SideOptions("a", [], tmp_path))
    with pytest.raises(ConfigError, match=r"^b_tree: '.*nope' does not exist; expected a source"):
        WorkerSide(SideOptions("b", [], tmp_path / "nope"))
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"^a_tree: '.*file' is no directory; expected a source"):
        WorkerSide(SideOptions("a", [], tmp_path / "file"))


def test_a_side_that_dies_says_why(tmp_path: Path) -> None:
    tree = _tree(tmp_path, "raise SystemExit('no device')")
    with pytest.raises(InvalidRun, match="a: its process ended: no device"):
        WorkerSide(SideOptions("a", [], tree))


def test_a_tree_that_is_older_than_ab_is_refused(tmp_path: Path) -> None:
    for room in ("engines", "kernels", "reports", "workloads"):
        os.symlink(ROOT / room, tmp_path / room)
    (tmp_path / "harness").mkdir()
    (tmp_path / "harness" / "__init__.py").touch()
    with pytest.raises(ConfigError, match="a tree that has `llmbench ab` itself"):
        WorkerSide(SideOptions("a", [], tmp_path))


def _tree(folder: Path, worker: str) -> Path:
    """A tree whose worker is this text."""
    for room in ("engines", "kernels", "reports", "workloads"):
        os.symlink(ROOT / room, folder / room)
    (folder / "harness" / "ab").mkdir(parents=True)
    for name in ("harness/__init__.py", "harness/ab/__init__.py"):
        (folder / name).touch()
    (folder / "harness" / "ab" / "worker.py").write_text(worker)
    return folder


# Answers once, and then hangs, as does a process that it has started. Both hold the pipe `alive`.
HANGS = """
import json, os, subprocess, sys, threading
alive = os.open(os.environ["ALIVE"], os.O_WRONLY)
held = "import threading; threading.Event().wait()"
subprocess.Popen([sys.executable, "-c", held], pass_fds=[alive])
sys.stdin.readline()
reply = {"ok": True, "label": "l", "version": "0", "num_requests": 9, "config": {}}
print(json.dumps(reply), flush=True)
threading.Event().wait()
"""


@pytest.mark.parametrize("ends", ["hangs", "is closed"])
def test_a_side_that_hangs_ends_with_all_that_it_started(
    ends: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALIVE", str(tmp_path / "alive"))
    os.mkfifo(tmp_path / "alive")
    alive = os.open(tmp_path / "alive", os.O_RDONLY | os.O_NONBLOCK)
    (tmp_path / "tree").mkdir()
    try:
        with WorkerSide(SideOptions("b", [], _tree(tmp_path / "tree", HANGS))) as side:
            if ends == "hangs":
                with pytest.raises(
                    InvalidRun,
                    match=r"b: a trial of 5 requests did not end within 0\.05 s.*--trial-timeout",
                ):
                    side.trial(1, 5, limit_s=0.05)
                with pytest.raises(InvalidRun, match="its process ended"):
                    side.trial(1, 5, limit_s=0.05)
            else:
                monkeypatch.setattr(side_module, "_END_WITHIN_S", 0.05)
        # The end of the pipe: nobody holds it any more.
        assert select.select([alive], [], [], 30)[0]
        assert os.read(alive, 1) == b""
    finally:
        os.close(alive)


def test_only_a_trial_may_be_dropped_and_not_a_side_that_is_lost(tmp_path: Path) -> None:
    """What a process says of a trial decides whether the comparison goes on."""
    worker = """
import json, sys
reply = {"ok": True, "label": "l", "version": "0", "num_requests": 9, "config": {}}
for line in sys.stdin:
    print(json.dumps(reply), flush=True)
    kind = ["lost", "invalid"][reply.get("kind") != "invalid"]
    reply = {"ok": False, "kind": kind, "error": kind}
"""
    with WorkerSide(SideOptions("b", [], _tree(tmp_path, worker))) as side:
        with pytest.raises(InvalidTrial, match="b: invalid"):
            side.trial(1, 5)
        with pytest.raises(InvalidRun, match="b: lost") as caught:
            side.trial(1, 5)
        assert not isinstance(caught.value, InvalidTrial)
