"""Factorials in virtual time: the same bytes, known mechanisms, nothing of a machine's own."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from llmbench.engines.config import engine_config, with_choices
from llmbench.engines.cost.roofline import Efficiency
from llmbench.engines.errors import ConfigError, OutOfMemory
from llmbench.harness.ablation.analyse import analyse
from llmbench.harness.ablation.design import parse_axes
from llmbench.harness.ablation.factorial import Factorial
from llmbench.harness.ablation.run import Checked, check, run_cells
from llmbench.harness.cells.runner import Overrides
from llmbench.harness.cells.simulated import SimulatedCells
from llmbench.harness.cli import main
from llmbench.harness.cli.exits import Exit
from llmbench.harness.config import LoadConfig, RunConfig
from llmbench.harness.rendering import ablation_reports
from llmbench.harness.run.drive import Progress
from llmbench.harness.run.experiment import Measured
from llmbench.harness.simulation.simulated_machine import Machine
from llmbench.harness.storage.store import StoreError, load_run
from llmbench.reports.ablation_model import Ablation

# One token's keys and values in SmolLM2-135M, by hand: 30 layers, 3 KV heads of 64, keys and
# values, two bytes.
TOKEN_BYTES = 30 * 3 * 64 * 2 * 2
MODEL_LEN = 512
SMALL_POOL = 8 * MODEL_LEN * TOKEN_BYTES  # a contiguous cache holds eight requests
SETTINGS = RunConfig(
    model="smollm2-135m",
    engine=engine_config("paged", max_model_len=MODEL_LEN, kv_memory_bytes=SMALL_POOL),
    load=LoadConfig(
        workload="lognormal",
        num_requests=200,
        request_rate=100.0,
        max_input_len=256,
        max_output_len=128,
    ),
    command="the command",
)
MACHINE = Machine("l40s")


class Quiet:
    """A watch that counts what is simulated."""

    def __init__(self) -> None:
        self.simulated = 0

    def stage(self, text: str) -> None:
        self.simulated += text.startswith("simulating ")

    def progress(self, progress: Progress) -> None: ...


def _check(
    axes: str,
    settings: RunConfig = SETTINGS,
    machine: Machine = MACHINE,
    watch: Quiet | None = None,
    repeats: int = 1,
) -> tuple[Checked, SimulatedCells]:
    runner = SimulatedCells(settings, machine, watch or Quiet())
    design = parse_axes(axes, settings.engine)
    return check(design, runner, repeats=repeats, seed=settings.seed), runner


def _ablate(
    out: Path,
    axes: str,
    settings: RunConfig = SETTINGS,
    machine: Machine = MACHINE,
    watch: Quiet | None = None,
    repeats: int = 1,
) -> Ablation:
    watch = watch or Quiet()
    checked, runner = _check(axes, settings, machine, watch, repeats)
    runs = run_cells(checked, runner, out, watch).runs
    return analyse(Factorial(checked.design, runs, checked.not_run), command=settings.command)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ablation]:
    """A factorial of two axes, and where it is stored."""
    out = tmp_path_factory.mktemp("ablation")
    return out, _ablate(out, "admission,kv")


def test_two_ablations_give_identical_bytes(stored: tuple[Path, Ablation], tmp_path: Path) -> None:
    out, first = stored
    second = _ablate(tmp_path, "admission,kv")
    assert ablation_reports(second) == ablation_reports(first)
    for cell in (tmp_path / "cells").iterdir():
        for name in ("result.json", "requests.parquet", "steps.parquet", "report.md"):
            assert (cell / name).read_bytes() == (out / "cells" / cell.name / name).read_bytes()


def test_weights_that_all_cells_share_are_said_as_one_types_them(tmp_path: Path) -> None:
    engine = with_choices(SETTINGS.engine, quant="rtn+a8+int8-head")
    few = replace(SETTINGS.load, num_requests=20)
    found = _ablate(tmp_path / "kv", "kv", replace(SETTINGS, engine=engine, load=few))
    assert "quant rtn+a8+int8-head" in found.setting[-1]
    varied = _ablate(
        tmp_path / "head", "quant_head=none:int8", replace(SETTINGS, engine=engine, load=few)
    )
    assert "quant" not in varied.setting[-1]


def test_a_stored_cell_is_not_simulated_again(stored: tuple[Path, Ablation]) -> None:
    out, first = stored
    watch = Quiet()
    assert _ablate(out, "admission,kv", watch=watch) == first
    assert watch.simulated == 0


@pytest.mark.parametrize(
    ("settings", "machine"),
    [
        (SETTINGS, Machine("a100")),
        (SETTINGS, replace(MACHINE, efficiency=Efficiency(decode=0.5))),
        (replace(SETTINGS, seed=1), MACHINE),
        (replace(SETTINGS, engine=replace(SETTINGS.engine, max_num_seqs=64)), MACHINE),
    ],
)
def test_cells_of_another_machine_or_load_are_not_taken_for_these(
    stored: tuple[Path, Ablation], settings: RunConfig, machine: Machine
) -> None:
    with pytest.raises(StoreError, match="holds a run of other settings or requests"):
        _ablate(stored[0], "admission,kv", settings, machine)


def test_a_hardware_file_whose_numbers_change_is_another_machine(tmp_path: Path) -> None:
    text = """
        mine:
          peak_tflops: {bf16: 100}
          memory_gib: 40
          memory_gb_per_s: %d
          host_link: {gb_per_s: 20, latency_us: 5}
          step_overhead_ms: 1
          sources: {all: made up}
    """
    described = tmp_path / "mine.yaml"
    described.write_text(text % 800)
    machine = Machine(str(described))
    before = SimulatedCells(SETTINGS, machine, Quiet()).identify({"kv": "paged"}, 0)
    described.write_text(text % 900)
    after = SimulatedCells(SETTINGS, machine, Quiet()).identify({"kv": "paged"}, 0)
    assert before.fingerprint == after.fingerprint
    assert before.settings != after.settings


def test_tables_on_disk_say_what_tables_in_memory_say(stored: tuple[Path, Ablation]) -> None:
    out, first = stored
    checked, _ = _check("admission,kv")
    runs = {turn.cell: [load_run(out / "cells" / turn.directory)] for turn in checked.turns}
    found = analyse(Factorial(checked.design, runs), command=SETTINGS.command)
    assert found == first


def test_reserving_queues_where_optimism_preempts(tmp_path: Path) -> None:
    """A paged pool of eight requests' worst case: reserving its worst case never preempts, and
    lets fewer run; starting optimistically does the opposite."""
    found = _ablate(tmp_path, "admission=reserve:optimistic")
    reserve, optimistic = (cell.mechanism for cell in found.cells)
    assert reserve["preemptions"] == 0
    assert (optimistic["preemptions"] or 0) > 0
    assert (optimistic["running_peak"] or 0) > (reserve["running_peak"] or 0)
    assert (reserve["queue_s"] or 0) > (optimistic["queue_s"] or 0)
    ttft = next(one for one in found.effects if one.response == "ttft.mean")
    assert ttft.value < 1
    assert ttft.shares["queue"] > 0.9
    assert "because of KV capacity: at most" in ttft.sentence
    assert "; cost: " in ttft.sentence


def test_settings_that_mean_nothing_at_a_level_fall_away() -> None:
    """vLLM v1 caches prefixes, which a contiguous cache cannot."""
    engine = engine_config("vllm-v1", max_model_len=MODEL_LEN, kv_memory_bytes=SMALL_POOL)
    checked, _ = _check("kv", replace(SETTINGS, engine=engine))
    assert not checked.not_run
    cached = {
        turn.cell.name: checked.identities[turn].settings["prefix_cache"] for turn in checked.turns
    }
    assert cached == {"kv=paged": True, "kv=contiguous": False}


def test_a_cell_that_contradicts_itself_is_reported(tmp_path: Path) -> None:
    machine = Machine("h100")
    found = _ablate(tmp_path, "admission,preemption=recompute:swap", machine=machine)
    left_out = [(cell.name, cell.status, cell.reason) for cell in found.cells if cell.reason]
    assert [(name, status) for name, status, _ in left_out] == [
        ("admission=reserve,preemption=swap", "not run")
    ]
    assert "which never preempts" in left_out[0][2]
    assert left_out[0][2] in ablation_reports(found)["ablation.md"]


def test_the_report_says_first_that_it_is_simulated_and_how_wrong_it_may_be(
    stored: tuple[Path, Ablation],
) -> None:
    out, found = stored
    said = load_run(next((out / "cells").iterdir())).result.simulation
    assert said is not None
    assert said.error
    reports = ablation_reports(found)
    first_screen = reports["ablation.md"].partition("\n## ")[0]
    assert f"How wrong they may be: {said.error}." in first_screen
    assert "simulated l40s" in first_screen
    assert not any("machine differs" in note or "--repeats" in note for note in found.notes)


def test_what_follows_from_an_axis_is_the_first_note_with_the_options_that_make_it_equal(
    tmp_path: Path,
) -> None:
    """Known wrong here: prompts computed whole take steps of the model's 131 072 tokens and leave
    less KV memory, and what that did was put down to batching."""
    load = replace(SETTINGS.load, num_requests=20)
    settings = replace(SETTINGS, model="llama-3.1-8b", engine=engine_config("paged"), load=load)
    machine = Machine("a100")
    found = _ablate(tmp_path / "default", "batching", settings, machine)
    assert re.fullmatch(
        r"beside batching the cells differ in max_num_batched_tokens \(131.072 / 8.192\) and "
        r"kv_memory_bytes \(4\S+ GiB / 5\S+ GiB\), and an effect may be theirs; "
        r"--max-num-batched-tokens and --kv-memory would make them equal",
        found.notes[0],
    )
    equal = engine_config("paged", max_model_len=8192, kv_memory_bytes=2**33)
    found = _ablate(tmp_path / "equal", "batching", replace(settings, engine=equal), machine)
    assert not [note for note in found.notes if note.startswith("beside")]


def test_a_unit_that_follows_from_the_cache_is_no_effect_of_the_cache(tmp_path: Path) -> None:
    """Known wrong here: a contiguous cache's prompts are cut at 64 tokens and a paged one's at 16,
    and what that did to first tokens was put down to paging."""
    load = replace(SETTINGS.load, num_requests=20)
    engine = engine_config("inflight", max_model_len=MODEL_LEN, kv_memory_bytes=SMALL_POOL)
    settings = replace(SETTINGS, engine=engine, load=load)
    found = _ablate(tmp_path / "default", "kv=contiguous:paged", settings)
    assert found.notes[0] == (
        "beside kv the cells differ in chunk_unit (64 / 16), and an effect may be theirs; "
        "--chunk-unit would make them equal"
    )
    equal = replace(settings, engine=replace(engine, chunk_unit=32))
    found = _ablate(tmp_path / "equal", "kv=contiguous:paged", equal)
    assert not [note for note in found.notes if note.startswith("beside")]


def test_weights_are_one_choice_and_not_something_beside_it(tmp_path: Path) -> None:
    load = replace(SETTINGS.load, num_requests=20)
    found = _ablate(tmp_path, "quant=none:rtn+a8+int8-head", replace(SETTINGS, load=load))
    assert not [note for note in found.notes if note.startswith("beside")]


def test_repeats_differ_by_what_is_sent(tmp_path: Path) -> None:
    settings = replace(SETTINGS, load=replace(SETTINGS.load, num_requests=60))
    found = _ablate(tmp_path, "kv", settings, repeats=2)
    assert found.repeats == 2
    prints = {load_run(cell).result.workload.fingerprint for cell in (tmp_path / "cells").iterdir()}
    assert len(prints) == 2
    ttft = next(one for one in found.effects if one.response == "ttft.mean")
    assert ttft.low is not None


def test_repeats_that_send_nothing_new_are_refused(tmp_path: Path) -> None:
    """A trace arrives as it did, whatever the seed: a second repeat would be the first again."""
    trace = tmp_path / "trace.csv"
    rows = [f"2023-11-16 18:15:{at:02d}.0000000,{100 + at},20" for at in range(30)]
    trace.write_text("\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *rows]) + "\n")
    settings = replace(SETTINGS, load=LoadConfig(trace=trace))
    _check("kv", settings)
    with pytest.raises(ConfigError, match=r"repeats: .*at the same times"):
        _check("kv", settings, repeats=2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--hardware", "h100"), "hardware: 'h100' is not allowed; expected only with --simulate"),
        (("--simulate", "--threads", "1"), "threads: 1"),
        (("--simulate", "--model", "llama-3-8b", "--hardware", "h1000"), "did you mean 'h100'?"),
        (("--calibration", "none.json"), "none.json"),
        # Known wrong here: what was typed was passed over, for its axis sets it in every cell.
        (("--kv", "contiguous"), "kv: 'contiguous' is not allowed; expected unset: it is one of"),
    ],
)
def test_what_is_wrong_is_one_line_and_leaves_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        main(["ablate", "--axes", "kv", *arguments])
    assert left.value.code == 2
    errors = capsys.readouterr().err
    assert words in errors
    assert len(errors.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_memory_that_leaves_nothing_to_compare_is_no_wrong_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other cell is stored, and the exit code is that of a device without memory."""
    measure = SimulatedCells.measure

    def run_out(cells: SimulatedCells, overrides: Overrides, seed: int) -> Measured:
        if overrides["kv"] == "contiguous":
            raise OutOfMemory("for the KV cache", "cuda", "--kv-memory")
        return measure(cells, overrides, seed)

    monkeypatch.setattr(SimulatedCells, "measure", run_out)
    asked = ("--workload", "quick", "--num-requests", "3", "--simulate", "--quiet")
    with pytest.raises(SystemExit) as left:
        main(["ablate", "--axes", "kv", *asked, "--out", str(tmp_path)])
    assert left.value.code == Exit.OUT_OF_MEMORY
    failed, few = capsys.readouterr().err.splitlines()
    assert failed.startswith("error: not run, in no effect: kv=contiguous: cuda has no memory")
    assert few.startswith("error: no two cells are left that differ in one axis")
    assert str(tmp_path) in few
    assert (tmp_path / "cells" / "kv=paged" / "result.json").exists()
