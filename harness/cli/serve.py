"""`llmbench serve`: an engine behind the OpenAI protocol."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..options.run import with_run_options
from .console import printable
from .exits import Exit, say_error, say_text

if TYPE_CHECKING:
    from ..config import RunConfig

EPILOG = "\n\n".join(
    (
        "[bold]Examples[/]",
        "llmbench serve   [dim]the bundled model, engine paged, http://127.0.0.1:8000[/]",
        "llmbench serve --engine inflight --model smollm2-135m --quant awq --port 9000",
        "llmbench serve --max-waiting 64 --request-log requests.jsonl",
        'curl http://127.0.0.1:8000/v1/completions -d \'{"prompt": "The", "max_tokens": 8}\'',
    )
)
# Clients bring the load.
_NO_LOAD = (
    *("workload", "trace", "time_scale", "num_requests", "request_rate", "max_concurrency"),
    *("arrival", "max_input_len", "max_output_len", "samples", "shared_prefix_len", "corpus"),
    *("seed", "warmup_requests", "slo", "price_per_hour", "quality_tokens", "quality_reference"),
)


@with_run_options(without=_NO_LOAD)
def serve(
    settings: RunConfig,
    host: Annotated[
        str, typer.Option(help="Address to listen on.", rich_help_panel="Server")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="Port; 0 for any that is free.", rich_help_panel="Server")
    ] = 8000,
    served_model_name: Annotated[
        str | None,
        typer.Option(
            help="What clients call the model. Default: its own name.", rich_help_panel="Server"
        ),
    ] = None,
    max_waiting: Annotated[
        int | None,
        typer.Option(
            help="Requests that may wait for their first step, at least 1; more are answered 429.",
            rich_help_panel="Server",
        ),
    ] = None,
    grace: Annotated[
        float,
        typer.Option(
            help="Seconds that replies have to end after SIGTERM or Ctrl-C; a second ends them.",
            rich_help_panel="Server",
        ),
    ] = 10.0,
    request_log: Annotated[
        Path | None,
        typer.Option(
            help="Append a line of JSON for each request that ends: its times and tokens.",
            rich_help_panel="Server",
        ),
    ] = None,
    own_cores: Annotated[
        bool,
        typer.Option(
            help="Keep the engine to as many cores as --threads says, the server to the others, "
            "so that steps of a small model are as fast as in process.",
            rich_help_panel="Server",
        ),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print no progress.")] = False,
) -> None:
    """Put an engine behind the OpenAI protocol: completions and chat, streaming, /metrics.

    Needs pip install 'llmbench\\[serve]'.
    """
    from ...engines.errors import NotInstalledError

    try:
        from ..serve.server import ServeConfig
        from ..serve.server import serve as run_until_stopped
        from ..serve.worker import EngineLostError
    except ModuleNotFoundError as error:
        if error.name not in ("fastapi", "starlette", "uvicorn", "prometheus_client", "orjson"):
            raise
        raise NotInstalledError("serve", error.name, "llmbench[serve]") from error

    config = ServeConfig(host, port, max_waiting, grace, request_log, served_model_name, own_cores)
    try:
        run_until_stopped(
            settings,
            config,
            report=(lambda _: None) if quiet else say_text,
            ready=lambda line: print(printable(line), flush=True),
            warn=say_error,
        )
    except EngineLostError as error:
        # A traceback of this process would show nothing of the engine's.
        for note in getattr(error, "__notes__", ()):
            say_text(note)
        say_error(f"the engine failed: {error}")
        raise typer.Exit(Exit.BUG) from error
