"""`llmbench claims`, simulated and on the bundled model; no time is asserted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from llmbench.harness.claims import in_flight, kv_waste
from llmbench.harness.cli import main


def llmbench(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(list(arguments))
    return int(left.value.code or 0)


def test_static_batches_are_emptier_and_their_requests_longer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Yu et al., OSDI 2022: a batch of whole requests waits for its longest."""
    small = {**in_flight.SIMULATED, "num-requests": 60, "max-concurrency": 8}
    monkeypatch.setattr(in_flight, "SIMULATED", small)
    out = tmp_path / "claims"
    assert llmbench("claims", "in-flight", "--simulated", "--out", str(out), "--quiet") == 0
    printed = capsys.readouterr().out
    assert "“In-flight batching raises utilisation and cuts latency”" in printed
    assert {path.name for path in out.iterdir()} == {"claims.html", "claims.md", "claims.json"}
    (claim,) = json.loads((out / "claims.json").read_text())["claims"]
    static, latency, *_ = claim["evidence"]
    assert [static["held"], latency["held"]] == [True, True]
    assert all(one["simulated"] for one in claim["evidence"])
    page, text = ((out / name).read_text() for name in ("claims.html", "claims.md"))
    assert "batches of whole requests" in page
    assert "llmbench simulate --model llama-3-8b" in page.replace("&#45;", "-")
    assert "| simulated |" in text


def test_waste_is_measured_here_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With fewer requests than the claim takes: what they come to is not asserted."""

    def few(*arguments: Any, **named: Any) -> kv_waste.Pair:
        whole = measured_pair(*arguments, **named)
        one, other = (dict(each) | {"num-requests": 48} for each in (whole.contiguous, whole.paged))
        return kv_waste.Pair(whole.setting, one, other)

    measured_pair = kv_waste.measured_pair
    monkeypatch.setattr(kv_waste, "measured_pair", few)
    monkeypatch.setattr(kv_waste, "SIMULATED", ())
    assert llmbench("claims", "kv-waste", "--json") == 0
    (claim,) = json.loads(capsys.readouterr().out)["claims"]
    (found,) = claim["evidence"]
    assert not found["simulated"]
    assert found["setting"].startswith("bundled, 240 requests of quick")
    contiguous, paged = found["commands"]
    assert contiguous.replace("--kv contiguous", "--kv paged") == paged
    assert " → " in found["found"]


def test_a_claim_that_is_none_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert llmbench("claims", "free-lunch") == 2
    assert "claim: 'free-lunch' is not allowed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--model", "nosuch"), "model: 'nosuch' is not allowed"),
        (("--simulated", "--model", "bundled"), "only without --simulated"),
    ],
)
def test_a_wrong_model_is_found_before_anything_is_simulated(
    words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert llmbench("claims", "kv-waste", *words) == 2
    told = capsys.readouterr()
    assert said in told.err
    assert "simulat" not in told.err.replace("--simulated", "")
