"""An authority of our own and certificates that it signed, made anew by the command `openssl`."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = "DNS:localhost,IP:127.0.0.1"


@dataclass(frozen=True)
class Certificates:
    """ca_file: the authority's. Each of the others holds a server's certificate and its key:
    `good` for this machine, `elsewhere` for another, `expired` yesterday, `self_signed` by no
    authority at all."""

    directory: Path

    @property
    def ca_file(self) -> str:
        return str(self.directory / "ca.pem")

    def file(self, name: str) -> str:
        return str(self.directory / f"{name}.pem")

    def served(self, name: str = "good") -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.file(name))
        return context


def make_certificates(directory: Path) -> Certificates:
    """Skips the test where there is no `openssl`."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the command openssl")

    def openssl(*arguments: str) -> None:
        subprocess.run(
            ["openssl", *arguments], cwd=directory, check=True, capture_output=True, timeout=60
        )

    def key(name: str) -> None:
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", name)

    def together(name: str, parts: Sequence[str]) -> None:
        (directory / f"{name}.pem").write_text(
            "".join((directory / part).read_text() for part in parts)
        )

    key("ca.key")
    key("server.key")
    subject = ("-subj", "/CN=an authority of a test")
    openssl("req", "-x509", "-new", "-key", "ca.key", *subject, "-days", "2", "-out", "ca.pem")
    openssl("req", "-new", "-key", "server.key", "-subj", "/CN=a server", "-out", "server.csr")
    by_ca = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial")
    by_itself = ("-signkey", "server.key")
    for name, names, days, signed in (
        ("good", HERE, "2", by_ca),
        ("elsewhere", "DNS:elsewhere.test", "2", by_ca),
        ("expired", HERE, "-1", by_ca),
        ("self_signed", HERE, "2", by_itself),
    ):
        (directory / "names").write_text(f"subjectAltName={names}\n")
        asked = ("-in", "server.csr", "-days", days, "-extfile", "names", "-out", f"{name}.crt")
        openssl("x509", "-req", *asked, *signed)
        together(name, (f"{name}.crt", "server.key"))
    return Certificates(directory)
