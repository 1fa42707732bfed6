"""What a client is told when it cannot be served, in the form that OpenAI's clients read."""

from __future__ import annotations

from ...engines.errors import ConfigError

BAD_REQUEST, NOT_FOUND, TOO_MANY, FAILED, UNAVAILABLE = 400, 404, 429, 500, 503


class ApiError(Exception):
    """An answer that is no reply.

    status: HTTP's. field: what of the body is wrong, if anything is. code: a word that a client can
    act on, such as `context_length_exceeded`.
    """

    def __init__(
        self, status: int, message: str, field: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.field = field
        self.code = code

    @property
    def body(self) -> dict[str, object]:
        """OpenAI's error object: the body of a response, or the data of an event in a stream."""
        return {
            "error": {
                "message": self.message,
                "type": _type_of(self.status),
                "param": self.field,
                "code": self.code,
            }
        }


def _type_of(status: int) -> str:
    if status == TOO_MANY:
        return "rate_limit_error"
    return "invalid_request_error" if status < FAILED else "server_error"


def bad_request(field: str | None, message: str, code: str | None = None) -> ApiError:
    """The body is wrong. The message names the field, as `param` does."""
    return ApiError(BAD_REQUEST, f"{field}: {message}" if field else message, field, code)


def of_config(error: ConfigError) -> ApiError:
    """What an engine refuses before it begins."""
    return ApiError(BAD_REQUEST, str(error), error.field)
