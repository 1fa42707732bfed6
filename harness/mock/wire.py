"""The bytes of a response, as OpenAI's API has them.

Source: https://platform.openai.com/docs/api-reference/completions and .../chat (server-sent
events, the last of them `[DONE]`); `usage` in every chunk is vLLM's, `timings` llama.cpp's.
Made by hand from a template a reply: json.dumps of every chunk would be most of the server's work.
"""

from __future__ import annotations

import json
from http import HTTPStatus

from .script import Chunk, Counting, Plain, Script

STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
LAST = b"0\r\n\r\n"
DONE = b"data: [DONE]\n\n"
COMMENT = b": keep-alive\n\n"
MODEL = "mock"
_WORD = " tok"


class Wire:
    """One reply's bytes, chunk after chunk."""

    def __init__(self, script: Script, name: str, *, chat: bool, prompt_tokens: int) -> None:
        self._script = script
        self._chat = chat
        self._prompt_tokens = (
            prompt_tokens if script.prompt_tokens is None else script.prompt_tokens
        )
        kind = "chat.completion.chunk" if chat else "text_completion"
        self._head = (
            f'data: {{"id":{json.dumps(name)},"object":"{kind}","created":0,"model":"{MODEL}",'
        )
        self._produced = 0

    def role(self) -> bytes:
        """A chat's first event: a role, and no token."""
        return self._event('{"role":"assistant","content":""}', "null", "")

    def chunk(self, chunk: Chunk, *, last: bool) -> bytes:
        """The event of a chunk."""
        if chunk.raw is not None:
            return chunk.raw
        self._produced += chunk.tokens
        text = _WORD * chunk.tokens if chunk.text is None else chunk.text
        content = json.dumps(text)
        delta = f'{{"content":{content}}}' if self._chat else content
        ids = ""
        if self._script.counting is Counting.TOKEN_IDS:
            first = self._produced - chunk.tokens
            ids = f',"token_ids":{list(range(first, self._produced))}'
        finish = json.dumps(self._script.finish_reason) if last else "null"
        return self._event(delta, finish, ids)

    def _event(self, content: str, finish: str, ids: str) -> bytes:
        field = "delta" if self._chat else "text"
        told = ""
        if self._script.counting is Counting.CONTINUOUS:
            told = f',"usage":{self._usage(self._produced)}'
        elif self._script.counting is Counting.TIMINGS:
            told = f',"timings":{{"predicted_n":{self._produced}}}'
        return (
            f'{self._head}"choices":[{{"index":0,"{field}":{content},"logprobs":null,'
            f'"finish_reason":{finish}{ids}}}]{told}}}\n\n'
        ).encode()

    def end(self) -> bytes:
        """What is told at the end, and `[DONE]`."""
        told = b""
        if self._script.counting is not Counting.NONE:
            usage = self._usage(self._produced + self._script.completion_error)
            told = f'{self._head}"choices":[],"usage":{usage}}}\n\n'.encode()
        return told + DONE

    def whole(self) -> bytes:
        """The reply to a request that asked for no stream."""
        text = _WORD * self._script.tokens
        self._produced = self._script.tokens
        usage = json.loads(self._usage(self._produced + self._script.completion_error))
        said = {"message": {"role": "assistant", "content": text}} if self._chat else {"text": text}
        choice = {"index": 0, "finish_reason": self._script.finish_reason, **said}
        kind = "chat.completion" if self._chat else "text_completion"
        return json.dumps(
            {"object": kind, "model": MODEL, "choices": [choice], "usage": usage}
        ).encode()

    def _usage(self, completion: int) -> str:
        prompt, cached = self._prompt_tokens, self._script.cached_tokens
        details = "" if cached is None else f',"prompt_tokens_details":{{"cached_tokens":{cached}}}'
        return (
            f'{{"prompt_tokens":{prompt},"completion_tokens":{completion},'
            f'"total_tokens":{prompt + completion}{details}}}'
        )


def error_event(message: str) -> bytes:
    return f'data: {{"error":{{"message":{json.dumps(message)}}}}}\n\n'.encode()


def framed(data: bytes) -> bytes:
    """As one chunk of the transfer coding (RFC 9112, section 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def plain(answer: Plain) -> bytes:
    """A whole response."""
    if answer.raw is not None:
        return answer.raw
    reason = HTTPStatus(answer.status).phrase
    head = (
        f"HTTP/1.1 {answer.status} {reason}\r\nContent-Type: {answer.content_type}\r\n"
        f"Content-Length: {len(answer.body)}\r\n\r\n"
    )
    return head.encode() + answer.body
