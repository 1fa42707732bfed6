"""What stands in each column of the two tables: the one place that says so.

`docs/tables.md` shows these rows, and a test holds it against them.
"""

from __future__ import annotations

from typing import NamedTuple


class Column(NamedTuple):
    """unit: of its numbers, or what it holds; `… each` for a list.
    empty: when it says nothing, and what it holds then; empty itself if it always says something.
    """

    name: str
    unit: str
    says: str
    empty: str = ""


_IN_PROCESS = "empty in process"

REQUESTS = (
    Column("request_id", "name", "`r` and `index`; of a further sample `r7#1`"),
    Column("index", "", "place in the plan, from 0"),
    Column("sample", "", "which sample of its prompt, from 0"),
    Column(
        "status", "name", "`ok`, `refused`, `failed` or `unfinished`; metrics are of `ok` alone"
    ),
    Column("t_due_s", "s", "when it was due"),
    Column("t_send_s", "s", "when the engine got it; of a server, when sending began"),
    Column(
        "t_scheduled_s",
        "s",
        "when a step first computed it",
        "NaN where none did, and where only replies are seen",
    ),
    Column("t_first_s", "s", "when its first token was ready", "NaN without a token"),
    Column("t_end_s", "s", "when its last token was ready", "NaN without a token"),
    Column("input_tokens", "tokens", "of its prompt; of a server, as that counts them"),
    Column("output_tokens", "tokens", "of its reply"),
    Column("preemptions", "", "how often it lost its place", "0 where only replies are seen"),
    Column(
        "recomputed_tokens",
        "tokens",
        "computed again after a preemption",
        "0 where only replies are seen",
    ),
    Column("ttft_s", "s", "the metric `ttft`", "NaN without a token"),
    Column(
        "tpot_s", "s", "the metric `tpot`", "NaN of fewer than two tokens sent, and of one chunk"
    ),
    Column("ntpot_s", "s", "the metric `ntpot`", "NaN without a token"),
    Column("e2el_s", "s", "the metric `e2el`", "NaN without a token"),
    Column("queue_s", "s", "the metric `queue`", "NaN where `t_scheduled_s` is"),
    Column(
        "token_times_s",
        "s each",
        "when each token of the reply was ready; of a server, its chunk's",
    ),
    Column(
        "output_token_ids",
        "id each",
        "the reply",
        "empty of a server that returns no ids; simulated, zeros",
    ),
    Column("detail", "text", "why it was refused or failed", "empty of one that was served"),
    Column("chunk_times_s", "s each", "when each chunk of the stream came", _IN_PROCESS),
    Column("chunk_tokens", "tokens each", "how many tokens each chunk held", _IN_PROCESS),
    Column(
        "counted",
        "name",
        "by what a chunk's tokens are known: `usage`, `timings` or `token_ids`; `total`: only "
        "their sum is; `split`: likewise, and there were more chunks than tokens",
        _IN_PROCESS,
    ),
    Column(
        "cached_tokens",
        "tokens",
        "of its prompt, found in the server's prefix cache",
        "NaN in process, and of a server that does not tell",
    ),
    Column(
        "error",
        "name",
        "the label that a failure is counted under",
        "empty without one, and in process",
    ),
    Column(
        "finish_reason",
        "name",
        "why the reply ended, as the server says",
        "empty in process, and of a server that does not tell",
    ),
    Column(
        "hidden_tokens",
        "tokens",
        "of its reply, thoughts that the server counted and did not send",
        "0 in process, and of a server that does not tell",
    ),
    Column(
        "after", "", "of a session's later turn, the `index` of the turn before", "NaN elsewhere"
    ),
    Column("think_s", "s", "from the end of that turn to `t_due_s`", "0 elsewhere"),
    Column(
        "prefix_blocks",
        "number each",
        "names of the blocks of 16 tokens at the prompt's front that another one begins with, too",
        "empty where none does; null where the plan is not known",
    ),
)

STEPS = (
    Column("index", "", "place in the run, from 0"),
    Column("start_s", "s", "when it began"),
    Column("end_s", "s", "when it ended"),
    Column("prefill_tokens", "tokens", "computed of prompts, and again after a preemption"),
    Column("decode_tokens", "tokens", "computed one a sequence"),
    Column("prefill_requests", "", "sequences with a part of a prompt in it"),
    Column("decode_requests", "", "sequences that decoded in it: as many as `decode_tokens`"),
    Column("waiting", "", "sequences that waited meanwhile, those swapped out among them"),
    Column("running", "", "sequences that ran meanwhile"),
    Column("preempted", "", "sequences that lost their place for it"),
    Column("preempted_ids", "name each", "which these were"),
    Column("refused", "", "requests refused as it was planned"),
    Column(
        "recomputed_tokens", "tokens", "of `prefill_tokens`, those computed before a preemption"
    ),
    Column("prefix_hit_tokens", "tokens", "found in the prefix cache, and not computed"),
    Column("kv_useful_tokens", "tokens", "room that is written; shared room counts once"),
    Column("kv_reserved_tokens", "tokens", "room held, and written later by its holder"),
    Column("kv_internal_tokens", "tokens", "room held, and never written by its holder"),
    Column("kv_external_tokens", "tokens", "free room that cannot serve the head of the queue"),
    Column("kv_shared_tokens", "tokens", "room saved by sharing blocks"),
    Column("kv_capacity_tokens", "tokens", "all of the pool"),
    Column("schedule_s", "s", "choosing the step"),
    Column("prepare_s", "s", "its KV layout and input tensors"),
    Column("attention_s", "s", "attention and writes to the KV cache", "0 measured on a GPU"),
    Column(
        "linear_s",
        "s",
        "the rest of the forward pass; measured on a GPU all of it, or, where the next step is "
        "prepared meanwhile, waiting for the device",
    ),
    Column("sample_s", "s", "logits to tokens, their copy to the host included"),
    Column("host_s", "s", "what remains of `end_s` - `start_s`"),
    Column(
        "communicate_s", "s", "collectives between devices", "0 but where several are simulated"
    ),
    Column("swap_s", "s", "keys and values moved to or from the host", "0 without swapping"),
    Column("device_s", "s", "the device's own time, by its own clock", "0 without such a clock"),
    Column("replayed", "yes or no", "whether it was launched as a captured CUDA graph"),
    Column(
        "synchronous",
        "text",
        "why the next step had to wait for this one's tokens",
        "empty where it had not, and where steps are not prepared ahead",
    ),
    Column(
        "dropped_ids",
        "name each",
        "sequences computed in vain, because the token before was their last",
        "empty where steps are not prepared ahead",
    ),
    Column("chunk_request_ids", "name each", "the sequences that it computed, prompts first"),
    Column("chunk_phases", "name each", "beside each, `prefill` or `decode`"),
    Column("chunk_starts", "tokens each", "beside each, the position of its first token"),
    Column("chunk_lengths", "tokens each", "beside each, how many tokens"),
)
