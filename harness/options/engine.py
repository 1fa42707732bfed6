"""The options that say which engine is run: weights, axes, policies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ...engines.quantization.methods import METHODS

if TYPE_CHECKING:
    from ...engines.config import EngineConfig

_QUANT_HELP = "; ".join(f"{method.name}: {method.says}" for method in METHODS.values())


def engine_options(
    quant: Annotated[
        str,
        typer.Option(
            help=f"auto: as the checkpoint is. none, or a method: {_QUANT_HELP}. awq+a8 "
            "rounds the activations that meet 4-bit weights to 8 bits, awq+int8-head the output "
            "projection (none, int8 or w8a8), awq+a8+int8-head both; auto+a8 does it to "
            "a checkpoint. 'run' takes several, as none,awq,fp8.",
            rich_help_panel="Model",
        ),
    ] = "auto",
    group_size: Annotated[
        int | None,
        typer.Option(
            help="Inputs that share a 4-bit scale. Default: 128, 64 or 32, the first that divides.",
            rich_help_panel="Model",
        ),
    ] = None,
    dtype: Annotated[
        str,
        typer.Option(
            help="auto, float32, bfloat16 or float16. auto: bfloat16 where the hardware computes "
            "it, or native kernels for a CPU's vectors compute the linear maps; else float32, on a "
            "GPU float16.",
            rich_help_panel="Model",
        ),
    ] = "auto",
    model_impl: Annotated[
        str,
        typer.Option(
            help="auto, native or transformers: who computes the model. auto: native code where "
            "there is some.",
            rich_help_panel="Model",
        ),
    ] = "auto",
    load_format: Annotated[
        str,
        typer.Option(
            help="auto reads the weights; dummy draws them at random for any config.json or shape, "
            "such as llama-3-8b: speed without a checkpoint, and no quality.",
            rich_help_panel="Model",
        ),
    ] = "auto",
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda or cuda:N.", rich_help_panel="Model")
    ] = "auto",
    kernel: Annotated[
        list[str] | None,
        typer.Option(
            help="op=implementation, one of 'llmbench kernels list' or a kernel of your own: "
            "op=module:function or op=file.py. Repeat it for more.",
            rich_help_panel="Model",
        ),
    ] = None,
    engine: Annotated[
        str, typer.Option(help="A preset, see 'llmbench engines'.", rich_help_panel="Engine")
    ] = "paged",
    batching: Annotated[
        str | None,
        typer.Option(help="separate, mixed or static.", rich_help_panel="Engine"),
    ] = None,
    admission: Annotated[
        str | None, typer.Option(help="optimistic or reserve.", rich_help_panel="Engine")
    ] = None,
    kv: Annotated[
        str | None, typer.Option(help="paged or contiguous.", rich_help_panel="Engine")
    ] = None,
    block_size: Annotated[
        int | None, typer.Option(help="Tokens a KV block.", rich_help_panel="Engine")
    ] = None,
    kv_memory: Annotated[
        str | None,
        typer.Option(
            help="Room for keys and values, such as 512MiB. Default: 1GiB on a CPU, on a GPU 90 % "
            "of what weights and the largest step leave free; simulated, what "
            "--free-memory-fraction says, and with --calibration 1GiB of a CPU, none of a GPU.",
            rich_help_panel="Engine",
        ),
    ] = None,
    kv_dtype: Annotated[
        str,
        typer.Option(
            help="What keys and values are stored as: auto (the model's dtype), fp8 (e4m3) or "
            "int8. Eight bits hold about twice the tokens in the same room.",
            rich_help_panel="Engine",
        ),
    ] = "auto",
    max_num_seqs: Annotated[
        int | None,
        typer.Option(help="Requests running at a time. Default: 256.", rich_help_panel="Engine"),
    ] = None,
    max_num_batched_tokens: Annotated[
        int | None,
        typer.Option(
            help="Tokens a step may compute. Default: 2048, or the model's length if longer, but "
            "8192 at most where prompts may be cut.",
            rich_help_panel="Engine",
        ),
    ] = None,
    max_model_len: Annotated[
        int | None,
        typer.Option(
            help="Longest prompt and output together. Default: the model's.",
            rich_help_panel="Engine",
        ),
    ] = None,
    async_scheduling: Annotated[
        bool | None,
        typer.Option(
            "--async-scheduling/--no-async-scheduling",
            help="Whether a step is prepared while another runs. Default: on a GPU.",
            rich_help_panel="Engine",
        ),
    ] = None,
    cuda_graphs: Annotated[
        bool | None,
        typer.Option(
            "--cuda-graphs/--no-cuda-graphs",
            help="Whether decode steps are captured once and replayed. Default: where they can be.",
            rich_help_panel="Engine",
        ),
    ] = None,
    mixing: Annotated[
        str | None,
        typer.Option(
            help="Whose mixed batching: unified (vLLM v1), inflight (TensorRT-LLM) or sarathi.",
            rich_help_panel="Policies",
        ),
    ] = None,
    enable_chunked_prefill: Annotated[
        bool | None,
        typer.Option(
            "--enable-chunked-prefill/--no-enable-chunked-prefill",
            help="Whether mixing unified or inflight may split a prompt over steps. Default: the "
            "preset's.",
            rich_help_panel="Policies",
        ),
    ] = None,
    chunking: Annotated[
        str | None,
        typer.Option(
            help="How in-flight batching shares a step among prompts: fcfs or equal.",
            rich_help_panel="Policies",
        ),
    ] = None,
    chunk_unit: Annotated[
        int | None,
        typer.Option(
            help="In-flight batching cuts prompts at multiples of this. Default: the block size, "
            "or 64 with a contiguous cache.",
            rich_help_panel="Policies",
        ),
    ] = None,
    long_prefill_tokens: Annotated[
        int | None,
        typer.Option(
            help="Mixing unified or inflight: most tokens of one prompt in a step; 0: no limit.",
            rich_help_panel="Policies",
        ),
    ] = None,
    whole_prompt_fits: Annotated[
        bool | None,
        typer.Option(
            "--whole-prompt-fits/--no-whole-prompt-fits",
            help="Unified mixing starts a request only where all its prompt would fit at once, not "
            "its first chunk alone (optimistic admission, paged KV). Default: the preset's.",
            rich_help_panel="Policies",
        ),
    ] = None,
    scheduler_delay_factor: Annotated[
        float | None,
        typer.Option(
            help="Separate batching waits this many prompt-step latencies for more prompts.",
            rich_help_panel="Policies",
        ),
    ] = None,
    watermark: Annotated[
        float | None,
        typer.Option(
            help="Share of KV blocks kept free when optimistic admission starts a request.",
            rich_help_panel="Policies",
        ),
    ] = None,
    preemption: Annotated[
        str | None,
        typer.Option(
            help="Under optimistic admission, who must make room in a paged cache is recomputed, "
            "swapped to the host, or auto: swapped if it has several samples, which separate "
            "batching preempts together.",
            rich_help_panel="Policies",
        ),
    ] = None,
    swap_memory: Annotated[
        str | None,
        typer.Option(
            help="Preemption swap or auto: room on the host. Default: as large as the KV pool, "
            "4GiB at most.",
            rich_help_panel="Policies",
        ),
    ] = None,
    enable_prefix_caching: Annotated[
        bool | None,
        typer.Option(
            "--enable-prefix-caching/--no-enable-prefix-caching",
            help="Whether requests with equal prefixes share KV blocks, of a paged cache. "
            "Default: the preset's.",
            rich_help_panel="Policies",
        ),
    ] = None,
    kv_reservation: Annotated[
        str | None,
        typer.Option(
            help="What a contiguous cache sets aside: max, pow2 or oracle. Default: max.",
            rich_help_panel="Policies",
        ),
    ] = None,
    arena: Annotated[
        str | None,
        typer.Option(
            help="How a contiguous cache finds room: first-fit or buddy.",
            rich_help_panel="Policies",
        ),
    ] = None,
) -> EngineConfig:
    """The engine that they make, checked."""
    from ...engines.config import engine_config
    from ..units import parse_bytes

    _check_one("engine", engine, "a preset")
    _check_one("quant", quant, "a method")
    return engine_config(
        engine,
        quant=quant,
        batching=batching,
        admission=admission,
        kv=kv,
        block_size=block_size,
        group_size=group_size,
        max_num_seqs=max_num_seqs,
        max_num_batched_tokens=max_num_batched_tokens,
        max_model_len=max_model_len,
        kv_memory_bytes=None if kv_memory is None else parse_bytes("kv_memory", kv_memory),
        kv_dtype=kv_dtype,
        mixing=mixing,
        chunked_prefill=enable_chunked_prefill,
        chunking=chunking,
        chunk_unit=chunk_unit,
        long_prefill_tokens=long_prefill_tokens,
        whole_prompt_fits=whole_prompt_fits,
        delay_factor=scheduler_delay_factor,
        watermark=watermark,
        preemption=preemption,
        swap_memory_bytes=None if swap_memory is None else parse_bytes("swap_memory", swap_memory),
        prefix_cache=enable_prefix_caching,
        kv_reservation=kv_reservation,
        arena=arena,
        dtype=dtype,
        device=device,
        model_impl=model_impl,
        force_kernels=tuple(kernel) if kernel else None,
        load_format=load_format,
        async_scheduling=async_scheduling,
        cuda_graphs={None: "auto", True: "on", False: "off"}[cuda_graphs],
    )


def _check_one(field: str, value: str, what: str) -> None:
    """Raises ConfigError for a list, which no name is near to."""
    if "," in value:
        from ...engines.errors import ConfigError

        sweep = f"'llmbench sweep --vary {field}={value} -- COMMAND'"
        allowed = f"{what}; for several: {sweep}, or a run of each and 'compare'"
        raise ConfigError(field, value, allowed)


def check_group_size(engine: EngineConfig, *, reads_checkpoint: bool) -> None:
    """Raises ConfigError where weights are in no groups. reads_checkpoint: one may say what `auto`
    is. Not part of the settings' own checks: a frontier and a sweep cross methods and sizes."""
    from ...engines.errors import ConfigError

    if engine.group_size is None or (engine.quant == "auto" and reads_checkpoint):
        return
    if engine.quant in ("auto", "none") or not METHODS[engine.quant].grouped:
        method = "no method" if engine.quant in ("auto", "none") else engine.quant
        raise ConfigError("group_size", engine.group_size, f"unset with {method}, without groups")
