"""What became of each request, read from the steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .result import Chunk, Ending, Outcome, Step
from .scenario import Scenario, ScenarioRequest


def outcomes(scenario: Scenario, steps: Sequence[Step]) -> tuple[Outcome, ...]:
    """One for each request, in the scenario's order."""
    notes = {row.id: _Notes(row) for row in scenario.requests}
    for step in steps:
        for chunk in (*step.prefills, *step.decodes):
            notes[_request(chunk.request_id)].compute(step.index, chunk)
        for name in step.preempted:
            notes[_request(name)].preemptions += 1
        for name in step.swapped_out:
            note = notes[_request(name)]
            note.preemptions += 1
            note.swaps += 1
        for name in step.ended:
            notes[_request(name)].end(step.index)
        for refused in step.refused:
            notes[_request(refused.request_id)].end(step.index, refused.reason)
        for name in step.aborted:
            notes[name].abort(step.index)
    return tuple(note.outcome() for note in notes.values())


def _request(sequence: str) -> str:
    return sequence.partition("#")[0]


@dataclass
class _Notes:
    """What is known of a request while its steps are read."""

    row: ScenarioRequest
    first_token_step: int | None = None
    end_step: int | None = None
    latest_token_step: dict[str, int] = field(default_factory=dict)
    longest_gap_steps: int | None = None
    preemptions: int = 0
    swaps: int = 0
    recomputed_tokens: int = 0
    cached_tokens: int = 0
    ended: int = 0
    reason: str = ""
    aborted: bool = False

    def compute(self, step: int, chunk: Chunk) -> None:
        self.recomputed_tokens += chunk.recomputed_tokens
        self.cached_tokens += chunk.cached_tokens
        if not chunk.yields_token:
            return
        if self.first_token_step is None:
            self.first_token_step = step
        else:
            # The first tokens of all samples come in one step, from the prompt's last chunk.
            before = self.latest_token_step.get(chunk.request_id, self.first_token_step)
            self.longest_gap_steps = max(self.longest_gap_steps or 0, step - before)
        self.latest_token_step[chunk.request_id] = step

    def end(self, step: int, reason: str = "") -> None:
        self.ended += 1
        self.end_step = step
        self.reason = self.reason or reason

    def abort(self, step: int) -> None:
        self.aborted = True
        self.end_step = step

    def outcome(self) -> Outcome:
        ending = self._ending()
        return Outcome(
            request_id=self.row.id,
            ending=ending,
            arrival_step=self.row.arrival_step,
            first_token_step=self.first_token_step,
            end_step=None if ending == "unfinished" else self.end_step,
            longest_gap_steps=self.longest_gap_steps,
            preemptions=self.preemptions,
            swaps=self.swaps,
            recomputed_tokens=self.recomputed_tokens,
            cached_tokens=self.cached_tokens,
            reason=self.reason,
        )

    def _ending(self) -> Ending:
        if self.reason:
            return "refused"
        if self.aborted:
            return "aborted"
        return "finished" if self.ended == self.row.n else "unfinished"
