"""Where latency went: TTFT and the gaps between tokens, split into parts that sum to what was
measured. The one rule: `explain`, reports, `compare` and `ablate` all read these parts.

An interval of one request, (t_due, t_first] or (t_{i-1}, t_i], is cut at the boundaries of steps.
Each piece goes to parts by what the request was then:

waiting, before the first step that computes any of it
    All of it is `queue`: exactly the metric `queue`.
in a step that computes a chunk of it
    The step is laid out as schedule, prepare, swap, model, sample, host, in that order; the piece
    takes what of each it covers (a token is ready before its step's host phase).
    `host`: schedule, prepare, sample and host. `preemption`: swap. The model phase (attention,
    linear, with what is copied on write, and communicate) has a part for the step's decodes and a
    part for its prefills; see `interference.py` for how they are told apart.
    `decode`: the decodes' part. A batch of decodes reads the weights once, so each of them waits
    for all of it, and it is shared out to nobody. In a TTFT it is what the decodes that share the
    prompt's steps cost it.
    `own_prefill` and `others_prefill`: the prefills' part, by tokens; of others' tokens, those
    that had been computed before a preemption are `preemption`.
in a step that computes none of it, once it has started
    `others_prefill` if the step computes a prompt: the whole step, its host work too, would not
    have stood in the way without it (a prompt step of `separate`); of it, the share of the prompt
    tokens that are computed again is `preemption`. `queue` if it only decodes others: the request
    waits for its turn.
preempted
    From the start of the step that preempted it until its next chunk, and while it is computed
    again between chunks: `preemption`. Of a step that computes it again, the share of its chunk's
    tokens that had been computed before is `preemption`, whole step; the rest is as above.
between steps, once it has started
    `host`: the loop around the engine.

So `preemption` is what preemptions cost a request, its own and those of others it stood behind:
without them it would have had that time.

`residual` is what is measured and in no part: time of a step that none of its phases accounts for.

On an accelerator launches return early and the device's work is waited for while sampling, so in a
run whose steps have no attention time `sample` counts as model.

A sample `r0#1` of a request asked for several counts prefills of `r0`, before its own first
chunk, as its own.
"""

from __future__ import annotations

from .latencies import Attributed, attribute
from .partition import PARTS
from .summary import parts_of, slowest_requests, slowest_tokens, summarise_parts
from .timeline import Timeline, timeline_of_tables, timeline_of_traces

__all__ = [
    "PARTS",
    "Attributed",
    "Timeline",
    "attribute",
    "parts_of",
    "slowest_requests",
    "slowest_tokens",
    "summarise_parts",
    "timeline_of_tables",
    "timeline_of_traces",
]
