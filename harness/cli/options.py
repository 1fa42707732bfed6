"""The options that say what is run: declared once, for every command that runs something."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from ...engines.quantization.methods import METHODS

if TYPE_CHECKING:
    from ..config import RunConfig


_QUANT_HELP = "; ".join(f"{method.name}: {method.says}" for method in METHODS.values())
# Options of a run that mean nothing where no model is.
NOT_SIMULATED = (
    "model_impl",
    "load_format",
    "async_scheduling",
    "cuda_graphs",
    "device",
    "threads",
    "kernel",
    "verify_kernels",
    "corpus",
    "warmup_requests",
    "quality_tokens",
)


def with_run_options(
    without: Sequence[str] = (),
    *,
    varied: str | None = None,
    **defaults: object,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command the options of a run, before its own, and hands it the `RunConfig` they make
    as its first argument, `settings`. without: options it does not have. defaults: where the
    command's differ. varied: the name of an option; hands the command a function instead, from a
    value of it (None: what was asked for) to a `RunConfig` with all else as given."""

    def make(chosen: Mapping[str, Any]) -> Any:
        if varied is None:
            return run_config(**chosen)
        return lambda value: run_config(**{**chosen, **({varied: value} if value else {})})

    shared = [
        one.replace(default=defaults.get(one.name, one.default))
        for one in parameters_of(run_config)
        if one.name not in without
    ]
    return lambda command: with_options(command, "settings", shared, make)


def with_options(
    command: Callable[..., None],
    argument: str,
    options: Sequence[inspect.Parameter],
    make: Callable[[Mapping[str, Any]], Any],
) -> Callable[..., None]:
    """The command with `options` before its own; what `make` makes of them is its `argument`."""

    @wraps(command)
    def called(**arguments: Any) -> None:
        chosen = {one.name: arguments.pop(one.name) for one in options}
        command(**{argument: make(chosen)}, **arguments)

    own = [one for one in parameters_of(command) if one.name != argument]
    parameters = [*options, *own]
    called.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportAttributeAccessIssue]
    called.__annotations__ = {one.name: one.annotation for one in parameters}
    return called


def is_typed(context: typer.Context, name: str) -> bool:
    """Whether the option of that parameter stands on the command line."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def parameters_of(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """A function's parameters by keyword, with their annotations as objects."""
    parameters = inspect.signature(function).parameters.values()
    # Known to a type checker only: nothing heavy is imported here.
    local: dict[str, Any] = dict.fromkeys(
        ("RunConfig", "SettingsOf", "Machine", "MachineOf"), object
    )
    hints = get_type_hints(function, localns=local, include_extras=True)
    return [
        one.replace(annotation=hints[one.name], kind=inspect.Parameter.KEYWORD_ONLY)
        for one in parameters
    ]


def run_config(
    model: Annotated[
        str,
        typer.Option(
            help="A name from 'llmbench models', a Hugging Face directory, or a hub id.",
            rich_help_panel="Model",
        ),
    ] = "bundled",
    quant: Annotated[
        str,
        typer.Option(
            help=f"auto: as the checkpoint is. none, or a method: {_QUANT_HELP}. 'run' takes "
            "several, as none,awq,fp8.",
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
        typer.Option(help="auto, float32, bfloat16 or float16.", rich_help_panel="Model"),
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
    threads: Annotated[
        int | None, typer.Option(help="CPU threads of the model.", rich_help_panel="Model")
    ] = None,
    kernel: Annotated[
        list[str] | None,
        typer.Option(
            help="op=implementation, one of 'llmbench kernels list' or a kernel of your own: "
            "op=module:function or op=file.py. Repeat it for more.",
            rich_help_panel="Model",
        ),
    ] = None,
    verify_kernels: Annotated[
        bool,
        typer.Option(
            "--verify-kernels",
            help="First compare every kernel that will run with its reference, at the model's "
            "shapes; a wrong one is refused.",
            rich_help_panel="Model",
        ),
    ] = False,
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
            help="Room for keys and values, such as 512MiB. Default: 1GiB on a CPU, 90 % of what "
            "is free on a GPU.",
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
            help="Tokens a step may compute. Default: 2048, or the model's length if longer.",
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
            help="Whether mixed batching may split a prompt over steps. Default: the preset's.",
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
            help="In-flight batching cuts prompts at multiples of this. Default: the block size.",
            rich_help_panel="Policies",
        ),
    ] = None,
    long_prefill_tokens: Annotated[
        int | None,
        typer.Option(
            help="Most tokens of one prompt in a mixed step; 0: no such limit.",
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
            help="Who must make room is recomputed, swapped to the host, or auto: swapped if it "
            "has several samples.",
            rich_help_panel="Policies",
        ),
    ] = None,
    swap_memory: Annotated[
        str | None,
        typer.Option(
            help="Room on the host for swapping. Default: as large as the KV pool, 4GiB at most.",
            rich_help_panel="Policies",
        ),
    ] = None,
    enable_prefix_caching: Annotated[
        bool | None,
        typer.Option(
            "--enable-prefix-caching/--no-enable-prefix-caching",
            help="Whether requests with equal prefixes share KV blocks. Default: the preset's.",
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
    workload: Annotated[
        str,
        typer.Option(
            help="A built-in (quick, fixed, lognormal, azure-conv, azure-code) or a YAML file.",
            rich_help_panel="Load",
        ),
    ] = "quick",
    trace: Annotated[
        Path | None,
        typer.Option(
            help="Replay a trace instead: Azure, BurstGPT, Mooncake, our own, or a stored run; the "
            "name of a built-in that was fitted to one stands for it.",
            rich_help_panel="Load",
        ),
    ] = None,
    time_scale: Annotated[
        float | None,
        typer.Option(
            help="Factor on a trace's gaps: 0.5 is twice as fast.", rich_help_panel="Load"
        ),
    ] = None,
    num_requests: Annotated[
        int | None,
        typer.Option(
            "--num-requests",
            "--num-prompts",
            help="How many; of a trace, the first.",
            rich_help_panel="Load",
        ),
    ] = None,
    request_rate: Annotated[
        float | None,
        typer.Option(
            help="Requests a second, Poisson; inf sends all at once.", rich_help_panel="Load"
        ),
    ] = None,
    max_concurrency: Annotated[
        int | None,
        typer.Option(
            help="Alone: a closed loop of this many. Beside a rate: a cap in front of the engine.",
            rich_help_panel="Load",
        ),
    ] = None,
    arrival: Annotated[
        str | None,
        typer.Option(
            help="poisson or constant, for --request-rate.",
            rich_help_panel="Load",
        ),
    ] = None,
    max_input_len: Annotated[
        int | None, typer.Option(help="Clip longer prompts.", rich_help_panel="Load")
    ] = None,
    max_output_len: Annotated[
        int | None, typer.Option(help="Clip longer outputs.", rich_help_panel="Load")
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(help="Replies to each prompt (parallel sampling).", rich_help_panel="Load"),
    ] = None,
    shared_prefix_len: Annotated[
        int | None,
        typer.Option(
            help="Tokens that all prompts begin with, as a system prompt.", rich_help_panel="Load"
        ),
    ] = None,
    corpus: Annotated[
        Path | None,
        typer.Option(
            help="Text that prompts are cut from, and perplexity is measured on. "
            "Default: held-out text that ships.",
            rich_help_panel="Load",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Same seed, same bytes sent.", rich_help_panel="Load")
    ] = 0,
    warmup_requests: Annotated[
        int,
        typer.Option(help="Sent first and not measured.", rich_help_panel="Measurement"),
    ] = 2,
    slo: Annotated[
        str | None,
        typer.Option(
            help="Limits for goodput, as ttft:200ms,tpot:50ms, or a preset such as sub-100ms.",
            rich_help_panel="Measurement",
        ),
    ] = None,
    quality_tokens: Annotated[
        int,
        typer.Option(
            help="Tokens that perplexity, and KL to the unquantised model, are computed over; "
            "0 for none.",
            rich_help_panel="Measurement",
        ),
    ] = 4096,
) -> RunConfig:
    """The settings of a run, checked."""
    from ...engines.config import engine_config
    from ..config import LoadConfig, RunConfig, parse_arrival
    from ..slo import parse_slo
    from ..units import parse_bytes

    return RunConfig(
        model=model,
        engine=engine_config(
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
            delay_factor=scheduler_delay_factor,
            watermark=watermark,
            preemption=preemption,
            swap_memory_bytes=None
            if swap_memory is None
            else parse_bytes("swap_memory", swap_memory),
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
        ),
        load=LoadConfig(
            workload=workload,
            trace=trace,
            time_scale=time_scale,
            num_requests=num_requests,
            request_rate=request_rate,
            max_concurrency=max_concurrency,
            arrival=None if arrival is None else parse_arrival(arrival),
            max_input_len=max_input_len,
            max_output_len=max_output_len,
            samples=samples,
            shared_prefix_tokens=shared_prefix_len,
            corpus=corpus,
        ),
        seed=seed,
        warmup_requests=warmup_requests,
        slo_s=parse_slo(slo) if slo else {},
        quality_tokens=quality_tokens,
        threads=threads,
        verify_kernels=verify_kernels,
        command=" ".join(["llmbench", *sys.argv[1:]]),
    )
