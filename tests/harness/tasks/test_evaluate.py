"""`llmbench eval`: which tasks, their scores, and what is wrong with what was asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from llmbench.engines.errors import ConfigError
from llmbench.harness.cli import main
from llmbench.harness.tasks import evaluate as tool
from llmbench.harness.tasks.evaluate import Score, find_tasks, scores_of

TASK = """\
task: which-number
dataset_path: json
dataset_kwargs:
  data_files: {data}
test_split: train
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: choices
doc_to_target: label
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
"""


@pytest.fixture
def task_file(tmp_path: Path) -> Path:
    """A task whose right choice is a word and whose wrong one is none, so that any model of English
    scores above chance."""
    rows = [
        {"question": question, "choices": [right, "zqx jvk"], "label": 0}
        for question, right in (("to be or not to", "be"), ("he said unto", "them"), ("my", "lord"))
    ]
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = tmp_path / "task.yaml"
    path.write_text(TASK.format(data=data))
    return path


def llmbench(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(list(arguments))
    return int(left.value.code or 0)


@pytest.mark.lm_eval
def test_scores_of_a_local_task_and_of_the_one_that_ships(
    task_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "eval.json"
    command = ("eval", "bundled", "--tasks", f"continuation,{task_file}", "--limit", "24")
    assert llmbench(*command, "--device", "cpu", "--quant", "int8", "--out", str(out)) == 0
    printed = capsys.readouterr()
    assert "which-number" in printed.out
    assert "scoring" in printed.err
    assert "it/s" not in printed.err, "no bars of its own"
    found = json.loads(out.read_text())
    assert (found["model"], found["settings"]["quant"]) == ("bundled", "int8")
    scores = {(one["task"], one["metric"]): one for one in found["scores"]}
    assert set(scores) == {
        ("continuation", "acc"),
        ("continuation", "acc_norm"),
        ("which-number", "acc"),
    }
    own = scores["which-number", "acc"]
    assert (own["value"], own["samples"]) == (1.0, 3)
    ships = scores["continuation", "acc"]
    assert ships["samples"] == 24
    # A share of so many documents, and the standard error of a share: sample variance over n.
    hits = ships["value"] * 24
    assert hits == pytest.approx(round(hits))
    share = ships["value"]
    assert ships["stderr"] == pytest.approx((share * (1 - share) / 23) ** 0.5)
    assert ships["value"] > 0.25, "a model of English beats chance on English"


@pytest.mark.lm_eval
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--tasks", "no-such-task-anywhere"), "tasks: 'no-such-task-anywhere'"),
        (("--tasks", "missing.yaml"), "a file that exists"),
        (("--tasks", "continuation,"), "names or YAML files"),
        (("--limit", "0"), "limit: 0"),
        (("--corpus", "short.txt"), "words of text"),
        (("--tasks", "broken.yaml"), "tasks: 'broken.yaml'"),
        (("--quant", "none,awq"), "quant: 'none,awq'"),
    ],
)
def test_what_is_wrong_is_one_line(
    arguments: tuple[str, ...],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "short.txt").write_text("Too short.")
    (tmp_path / "broken.yaml").write_text("task: broken\noutput_type: multiple_choice\n")
    assert llmbench("eval", "bundled", *arguments) == 2
    errors = capsys.readouterr().err
    assert words in errors
    assert len(errors.splitlines()) == 1
    assert not (tmp_path / "eval.json").exists()


def test_without_lm_eval_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tool, "find_spec", lambda _: None)
    with pytest.raises(ConfigError):
        find_tasks("continuation", None, seed=0, limit=None)
    assert llmbench("eval", "bundled") == 2
    error = capsys.readouterr().err
    assert error == "error: tasks: 'continuation' needs lm-eval: pip install 'llmbench[lm-eval]'\n"


def test_scores_are_told_from_errors_and_words() -> None:
    found = {
        "results": {
            "a": {"alias": "a", "acc,none": 0.5, "acc_stderr,none": 0.1},
            "b": {"exact_match,strict": 1, "exact_match_stderr,strict": "N/A"},
        },
        "n-samples": {"a": {"original": 9, "effective": 4}},
        "higher_is_better": {"a": {"acc": True}},
    }
    assert scores_of(found) == (
        Score("a", "acc", 0.5, 0.1, 4, True),
        Score("b", "exact_match (strict)", 1.0, None, 0, None),
    )
