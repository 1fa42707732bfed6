"""The options that say which server is driven, and how."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .run import parameters_of, with_options

if TYPE_CHECKING:
    from ..client.config import ClientConfig

_PANEL = "Server (--target openai)"
TARGETS = ("in-process", "openai", "vllm", "tensorrt_llm")


@dataclass(frozen=True)
class ServerAsked:
    """What the command line says of a server. client: None for a run in process."""

    client: ClientConfig | None
    tokenizer: str | None
    calibration: Path | None


def server_options(
    target: Annotated[
        str,
        typer.Option(
            help="in-process: an engine of ours. openai: any server of that API, at --base-url. "
            "vllm, tensorrt_llm: that library's engine without HTTP, where it is installed.",
            rich_help_panel=_PANEL,
        ),
    ] = "in-process",
    base_url: Annotated[
        str | None,
        typer.Option(
            help="Where the server is, as http://HOST:PORT or https://HOST. A query goes with "
            "every request.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    endpoint: Annotated[
        str, typer.Option(help="completions or chat.", rich_help_panel=_PANEL)
    ] = "completions",
    prompt_as: Annotated[
        str | None,
        typer.Option(
            help="ids: exactly the tokens that are planned. text: what they decode to. Default: "
            "ids, or text for chat.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            help="A model's name or directory, in whose tokens prompts are cut. Default: of the "
            "served model, where it is known here.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    api_key_env: Annotated[
        str | None,
        typer.Option(help="The environment variable that holds the key.", rich_help_panel=_PANEL),
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=VARIABLE: a header of every request, as api-key=AZURE_KEY. Its value is "
            "read from that environment variable and stored nowhere. Repeat it for more.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    ca_file: Annotated[
        Path | None,
        typer.Option(
            help="Certificates (PEM) of the authorities that are believed for https. Default: "
            "the system's.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure",
            help="Believe any certificate. The result says so.",
            rich_help_panel=_PANEL,
        ),
    ] = False,
    server: Annotated[
        str,
        typer.Option(
            help="Whose fields are sent, to get exactly N tokens and no warm prefix cache: auto, "
            "vllm, sglang, llama.cpp, tensorrt-llm, llmbench, mock or openai (none).",
            rich_help_panel=_PANEL,
        ),
    ] = "auto",
    prefix_cache: Annotated[
        str,
        typer.Option(
            help="fresh: nothing from before this run is reused. off: nothing at all. server: as "
            "it likes.",
            rich_help_panel=_PANEL,
        ),
    ] = "fresh",
    output_lengths: Annotated[
        str,
        typer.Option(
            help="exact: every reply has the tokens that are planned, or the run is not valid. "
            "at-most: a model may end its reply before, as with servers that cannot ignore the "
            "end of text; the result and every comparison say so.",
            rich_help_panel=_PANEL,
        ),
    ] = "exact",
    length_field: Annotated[
        str,
        typer.Option(
            help="What a chat's body calls the tokens it asks for: max_tokens, or "
            "max_completion_tokens, as reasoning models of OpenAI and Azure insist on.",
            rich_help_panel=_PANEL,
        ),
    ] = "max_tokens",
    extra: Annotated[
        list[str] | None,
        typer.Option(
            help="KEY=JSON: a field of every request's body. Repeat it for more.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    connections: Annotated[
        str,
        typer.Option(
            help="pool keeps them alive; fresh opens one a request, and counts that.",
            rich_help_panel=_PANEL,
        ),
    ] = "pool",
    processes: Annotated[
        int, typer.Option(help="That share the sending.", rich_help_panel=_PANEL)
    ] = 1,
    max_errors: Annotated[
        int,
        typer.Option(
            help="Failed requests that end the run; 0: it goes on.", rich_help_panel=_PANEL
        ),
    ] = 100,
    metrics_interval: Annotated[
        float,
        typer.Option(
            help="Seconds between readings of the server's own metrics (KV use, queue, "
            "preemptions), by a process of its own; 0: none.",
            rich_help_panel=_PANEL,
        ),
    ] = 1.0,
    timeout: Annotated[
        str | None,
        typer.Option(
            help="Limits of a request, as first-token:30s,chunk:5s. Defaults: connect:10s, "
            "first-token:120s, chunk:60s, total:600s.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    client_calibration: Annotated[
        Path | None,
        typer.Option(
            help="What 'llmbench calibrate-client' wrote. Default: where it writes to.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
) -> ServerAsked:
    """The server that they make, checked."""
    from ...engines.errors import MissingError, unknown_name
    from ..client.config import ClientConfig, parse_extra, parse_timeouts, parse_url
    from ..client.headers import parse_headers
    from ..client.tls import Trust

    if target not in TARGETS:
        raise unknown_name("target", target, TARGETS)
    if target != "openai":
        return ServerAsked(None, None, None)
    if base_url is None:
        raise MissingError("base_url", "--base-url http://HOST:PORT beside --target openai")
    client = ClientConfig(
        url=parse_url(base_url),
        endpoint=endpoint,  # pyright: ignore[reportArgumentType] -- it checks them itself
        prompt_as=prompt_as or ("text" if endpoint == "chat" else "ids"),  # pyright: ignore[reportArgumentType]
        server=server,
        prefix_cache=prefix_cache,  # pyright: ignore[reportArgumentType]
        output_lengths=output_lengths,  # pyright: ignore[reportArgumentType]
        length_field=length_field,  # pyright: ignore[reportArgumentType]
        connections=connections,  # pyright: ignore[reportArgumentType]
        processes=processes,
        max_errors=max_errors,
        timeouts=parse_timeouts(timeout),
        extra=parse_extra(extra or ()),
        api_key_env=api_key_env,
        headers_env=parse_headers(header or ()),
        trust=Trust(None if ca_file is None else str(ca_file), verify=not insecure),
        metrics_interval_s=metrics_interval,
    )
    client.headers()
    if client.tls is not None:
        client.tls.context()
    return ServerAsked(client, tokenizer, client_calibration)


def with_server_options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options of a server; what they make is its argument `server`."""
    return with_options(
        command, "server", parameters_of(server_options), lambda chosen: server_options(**chosen)
    )
