"""Hand-written trees of control groups, as cgroups(7) describes them."""

from pathlib import Path

import pytest
from llmbench.kernels.control_groups import control_groups, cpu_quota


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2.0),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({}, None),
    ],
)
def test_a_container_finds_its_own_quota_at_the_root(
    tmp_path: Path, files: dict[str, str], limit: float | None
) -> None:
    write(tmp_path, files)
    for own in ("0::/\n", "3:cpu,cpuacct:/docker/0dc8\n0::/docker/0dc8\n", ""):
        (tmp_path / "own").write_text(own)
        assert cpu_quota(tmp_path, tmp_path / "own") == limit


def test_a_service_has_the_least_of_what_it_lies_in(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "own": "0::/system.slice/bench.service\n",
            "system.slice/cpu.max": "800000 100000\n",
            "system.slice/bench.service/cpu.max": "200000 100000\n",
            "system.slice/other.service/cpu.max": "100000 100000\n",
        },
    )
    assert cpu_quota(tmp_path, tmp_path / "own") == 2.0
    (tmp_path / "system.slice/cpu.max").write_text("50000 100000\n")
    assert cpu_quota(tmp_path, tmp_path / "own") == 0.5


def test_of_version_1_only_the_hierarchy_of_the_processors_counts(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "own": "5:memory:/memory\n4:cpu,cpuacct:/slurm/job_7\n0::/unified\n",
            "cpu/slurm/job_7/cpu.cfs_quota_us": "400000\n",
            "cpu/slurm/job_7/cpu.cfs_period_us": "100000\n",
            "cpu/memory/cpu.cfs_quota_us": "100000\n",
            "cpu/memory/cpu.cfs_period_us": "100000\n",
        },
    )
    assert cpu_quota(tmp_path, tmp_path / "own") == 4.0
    cpu = tmp_path / "cpu"
    assert control_groups(tmp_path, tmp_path / "own") == [cpu, cpu / "slurm", cpu / "slurm/job_7"]
