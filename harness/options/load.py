"""The options that say what is sent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...engines.errors import ConfigError

if TYPE_CHECKING:
    from ..config import LoadConfig


def _one_of_both(context: typer.Context, parameter: typer.CallbackParam, value: Any) -> Any:
    """A workload is refused beside a trace, which would be sent in its place. Called as each is
    read, in the order they are typed."""
    from .run import is_typed

    if is_typed(context, "workload") and is_typed(context, "trace"):
        workload = value if parameter.name == "workload" else context.params["workload"]
        raise ConfigError("workload", workload, "unset: --trace says what is sent")
    return value


def load_options(
    workload: Annotated[
        str,
        typer.Option(
            help="A built-in (quick, fixed, lognormal, azure-conv, azure-code) or a YAML file.",
            callback=_one_of_both,
            rich_help_panel="Load",
        ),
    ] = "quick",
    trace: Annotated[
        Path | None,
        typer.Option(
            help="Replay a trace instead: Azure, BurstGPT, Mooncake, ServeGen's offline, our own, "
            "or a stored run; the name of a built-in that was fitted to one stands for it.",
            callback=_one_of_both,
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
            help="Requests a second, or sessions where the workload has them; inf sends all at "
            "once. Gamma and constant arrivals and clients keep their kind, others become Poisson.",
            rich_help_panel="Load",
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
            help="poisson or constant, for --request-rate; own: the workload's own arrivals, gaps "
            "scaled to that rate, bursts and all.",
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
) -> LoadConfig:
    """The load that they make, checked."""
    from ..config import LoadConfig, parse_arrival

    return LoadConfig(
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
    )
