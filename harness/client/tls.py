"""Whom a client of TLS believes, and what a handshake that failed means in a line."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass

from ...engines.errors import ConfigError

# What OpenSSL's versions call bytes that are no record of TLS.
_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")
# X509_verify_cert_error_string(3): self-signed, alone or in the chain; no issuer known.
_UNKNOWN_ISSUER = (18, 19, 20, 21)

_WHOM_TO_BELIEVE = (
    "--ca-file names the authority that signed it, or the certificate itself; --insecure "
    "believes any"
)


@dataclass(frozen=True)
class Trust:
    """ca_file: certificates of the authorities to believe, in PEM, and of no others; None: the
    system's, which the environment's SSL_CERT_FILE and SSL_CERT_DIR move. verify: if not, whoever
    answers is believed. Raises ConfigError for both at once."""

    ca_file: str | None = None
    verify: bool = True

    def __post_init__(self) -> None:
        if self.ca_file is not None and not self.verify:
            raise ConfigError("ca_file", self.ca_file, "nothing beside --insecure")

    def context(self) -> ssl.SSLContext:
        """Raises ConfigError where the file has no certificate."""
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:  # ssl.SSLError is one
            why = error.strerror or str(error)
            allowed = "a file of certificates in PEM"
            raise ConfigError("ca_file", self.ca_file, allowed, f" ({why})") from error
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


SYSTEM_TRUST = Trust()


def explain_tls(error: BaseException) -> str | None:
    """What a failed handshake says of the server; None of an error that has another cause."""
    if isinstance(error, ssl.SSLCertVerificationError):
        unknown = error.verify_code in _UNKNOWN_ISSUER
        hint = f"; {_WHOM_TO_BELIEVE}" if unknown else ""
        why = error.verify_message.rstrip(".")
        return f"shows a certificate that is not believed: {why}{hint}"
    if isinstance(error, ssl.SSLEOFError):
        return "hung up in the TLS handshake"
    if isinstance(error, ssl.SSLError):
        if error.reason in _NO_TLS:
            return "answers without TLS: http:// may be meant"
        return f"failed in the TLS handshake: {error.reason or error}"
    return None


def speaks_tls(host: str, port: int, timeout_s: float) -> bool:
    """Whether a handshake there succeeds, whoever it is."""
    try:
        with (
            socket.create_connection((host, port), timeout_s) as plain,
            Trust(verify=False).context().wrap_socket(plain, server_hostname=host),
        ):
            return True
    except OSError:
        return False
