"""What a run against a server is made of, found out before anything is sent: who the server is,
whose tokens prompts are cut in, and every request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...engines.errors import MissingError
from ...engines.models.catalogue import list_models, resolve_model
from ...engines.models.tokenizer import load_tokenizer
from ...workloads.api import Plan, WorkloadError
from ..config import LoadConfig
from ..run.planning import corpus_text, plan_with_warmup, workload_of
from ..run.text_encoder import text_encoder
from ..slo import check_seen_by_a_client
from .addresses import Address, resolve
from .bodies import fixed_fields, with_texts
from .calibration import ClientCalibration, default_path, read_calibration
from .config import ClientConfig
from .probe import Probed, probe
from .processes import Job
from .servers import Server, find_server

if TYPE_CHECKING:
    from ..run.watch import Watch

# Longer than any model's context: where neither the user nor the server says.
_NO_LIMIT = 2**24


@dataclass(frozen=True)
class ServerRunConfig:
    """Everything that decides a run against a server.

    tokenizer: a model directory or name, whose tokens prompts are cut in; None: of the model that
    is served, if it is known here. max_model_len: longest prompt and reply; None: as the server
    says. calibration: the client's own error; None: where `calibrate-client` puts it. The rest is
    as in `RunConfig`.
    """

    client: ClientConfig
    load: LoadConfig = field(default_factory=LoadConfig)
    tokenizer: str | None = None
    max_model_len: int | None = None
    seed: int = 0
    warmup_requests: int = 2
    slo_s: Mapping[str, float] = field(default_factory=dict)
    price_per_hour: float | None = None
    calibration: Path | None = None
    command: str = ""


@dataclass(frozen=True)
class PreparedServerRun:
    """A run that has been checked: the server answers, and everything is planned. addresses: those
    of the server's name, in the order in which they are tried."""

    config: ServerRunConfig
    probed: Probed
    server: Server
    plan: Plan
    warmup: Plan
    corpus_name: str
    tokenizer_name: str
    calibration: ClientCalibration | None
    addresses: tuple[Address, ...]

    def job(self, salt: str) -> Job:
        """The plan. salt: of this run."""
        client = self.config.client
        fixed = fixed_fields(client, self.server, self.probed.model, salt)
        return Job(client, self.server, fixed, salt, self.plan, self.addresses)

    def warmup_job(self, salt: str) -> Job:
        """From one process, and with names of its own."""
        job = self.job(salt)
        client = replace(job.config, processes=1)
        return replace(job, config=client, salt=f"{salt}-warmup", plan=self.warmup)


def prepare_server_run(config: ServerRunConfig, watch: Watch) -> PreparedServerRun:
    """Ask the server who it is, and plan every request. Raises TargetError where it is down or not
    OpenAI-compatible, ConfigError, ModelError and WorkloadError."""
    check_seen_by_a_client(config.slo_s)
    spec = workload_of(config.load)
    calibration = _calibration_of_this_cpu(config.calibration)
    watch.stage(f"asking {config.client.url} which models it serves")
    probed = probe(config.client, tokenizer_is_told=config.tokenizer is not None)
    server = find_server(config.client.server, probed.owner)
    name, files = tokenizer_of_server(config.tokenizer, probed.model, server, watch)
    tokenizer = load_tokenizer(files)
    corpus_name, text = corpus_text(config.load.corpus)
    plan, warmup = plan_with_warmup(
        spec,
        config.load,
        seed=config.seed,
        warmup_requests=config.warmup_requests,
        corpus_token_ids=tokenizer.encode(text, add_special_tokens=False),
        max_model_len=config.max_model_len or probed.max_model_len or _NO_LIMIT,
        vocab_size=tokenizer.vocab_size,
        encoder=text_encoder(tokenizer, files),
    )
    if (samples := max(one.samples for one in plan.requests)) > 1:
        raise WorkloadError("samples", samples, "1, for a server")
    if config.client.prompt_as == "text":
        plan, warmup = with_texts(plan, tokenizer), with_texts(warmup, tokenizer)
    return PreparedServerRun(
        config,
        probed,
        server,
        plan,
        warmup,
        corpus_name,
        name,
        calibration,
        resolve(config.client),
    )


def tokenizer_of_server(
    asked: str | None, model: str, server: Server, watch: Watch
) -> tuple[str, Path]:
    """Whose tokens prompts are cut in, and where its files are. Raises ConfigError where it is not
    known."""
    name = asked
    if name is None and server.name == "mock":
        name = "bundled"  # any will do
    if name is None:
        known = {entry.name for entry in list_models()}
        if model not in known and not Path(model).is_dir():
            raise MissingError(
                "tokenizer",
                "--tokenizer NAME or DIRECTORY, for prompts have exact lengths in its tokens: "
                f"{model!r} is no model known here",
            )
        name = model
    return name, resolve_model(name, watch.stage, field="tokenizer").directory


def _calibration_of_this_cpu(asked: Path | None) -> ClientCalibration | None:
    """The client's own error, as measured on such a machine; None without it. Raises ConfigError
    for a file that is none: after the run it would cost what was measured."""
    from ..machine.environment import cpu

    path = asked or default_path()
    if asked is None and not path.is_file():
        return None
    found = read_calibration(path)
    return found if found.cpu == str(cpu()["model"]) else None
