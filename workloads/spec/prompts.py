"""What requests say, as it stands in a workload file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StrictBool

from .base import Part
from .bounds import FileName, FilePath, Requests, Rows, Share, SomeTokens


class _Synthetic(Part):
    """Prompts that are made, each of exactly the length that `lengths` asks for."""

    shared_prefix_tokens: SomeTokens = Field(
        default=0,
        description="Tokens that prompts begin with in common, as with one system prompt; part of "
        "each input length. A shorter prompt shares all but its last token.",
    )
    shared_prefix_count: Requests = Field(
        default=1, description="How many such prefixes there are; a prompt has one at random."
    )
    shared_prefix_ratio: Share = Field(
        default=1.0, description="Share of the prompts that have one."
    )


class CorpusPrompts(_Synthetic):
    """Token ids cut from a tokenised text, each prompt at an offset of its own."""

    kind: Literal["corpus"] = "corpus"


class RandomPrompts(_Synthetic):
    """Token ids drawn uniformly from the vocabulary, special tokens left out."""

    kind: Literal["random"]


class _Texts(Part):
    """Prompts that are read, as long as they are unless `lengths` trims them."""

    chat: StrictBool = Field(
        default=False,
        description="Put each prompt into the model's own chat template, and send it as messages "
        "where a server is sent chats.",
    )
    order: Literal["file", "shuffled"] = Field(
        default="shuffled",
        description="Both take every text once before any comes again.",
    )


class TextPrompts(_Texts):
    """The lines or the paragraphs of a text file."""

    kind: Literal["text"]
    path: FilePath = Field(description="A text file; relative to the workload file.")
    split: Literal["lines", "paragraphs"] = Field(
        default="lines", description="A prompt is a line, or what stands between empty lines."
    )


class ShareGPTPrompts(_Texts):
    """Conversations in ShareGPT's form: a JSON list of {conversations: [{from, value}, …]}."""

    kind: Literal["sharegpt"]
    path: FilePath = Field(description="The JSON file; relative to the workload file.")


class _Records(_Texts):
    prompt_field: str = Field(
        default="prompt",
        min_length=1,
        description="The field that holds a text, a list of texts (the turns of one user), or a "
        "list of messages ({role, content} or {from, value}).",
    )
    reply_field: str | None = Field(
        default=None,
        description="The field that holds the reply as a text, or its length in tokens as a "
        "number. Left out: replies are those among the messages, if any.",
    )


class JsonlPrompts(_Records):
    """JSON lines, one prompt or conversation each."""

    kind: Literal["jsonl"]
    path: FilePath = Field(description="The JSONL file; relative to the workload file.")


class DatasetPrompts(_Records):
    """A Hugging Face dataset, read through `datasets`."""

    kind: Literal["dataset"]
    dataset: FileName = Field(
        min_length=1,
        description="hf:NAME, hf:NAME:SPLIT or hf:NAME:CONFIG:SPLIT of the hub; or PATH or "
        "PATH:SPLIT of a local file (.parquet, .json, .jsonl, .csv, .arrow), of a folder that a "
        "dataset was saved in, or of one with files as on the hub, relative to the workload file. "
        "The split is `train`, or the only one, unless given.",
    )
    rows: Rows | None = Field(
        default=None, description="Read only the first so many rows. Left out: all."
    )


Prompts = Annotated[
    CorpusPrompts | RandomPrompts | TextPrompts | ShareGPTPrompts | JsonlPrompts | DatasetPrompts,
    Field(discriminator="kind"),
]
TEXTS = (TextPrompts, ShareGPTPrompts, JsonlPrompts, DatasetPrompts)
