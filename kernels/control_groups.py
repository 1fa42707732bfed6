"""What Linux's control groups let a process have of the processors."""

from __future__ import annotations

from pathlib import Path

MOUNT, OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def cpu_quota(root: Path = MOUNT, own: Path = OWN) -> float | None:
    """CPUs that this process may use, the least of what its control groups allow; None without a
    limit. root, own: as `control_groups` takes them.

    Sources: Linux's documentation, admin-guide/cgroup-v2 (`cpu.max`) and scheduler/sched-bwc.
    """
    limits = [limit for group in control_groups(root, own) if (limit := _quota_of(group))]
    return min(limits, default=None)


def _quota_of(group: Path) -> float | None:
    quota, _, period = text_of(group / "cpu.max").strip().partition(" ")
    if not quota:
        quota = text_of(group / "cpu.cfs_quota_us").strip()
        period = text_of(group / "cpu.cfs_period_us").strip()
    if not quota or quota in ("max", "-1") or not period:
        return None
    return int(quota) / int(period)


def control_groups(root: Path = MOUNT, own: Path = OWN) -> list[Path]:
    """Directories of the groups, version 1 or 2, that share out processors to this process: its own
    and all that it lies in. root: where they are mounted; own: which is its own, see cgroups(7).
    In a container the root is its own, whatever `own` says.
    """
    version1 = root / "cpu"
    mount = version1 if version1.is_dir() else root
    groups = [mount]
    for line in text_of(own).splitlines():
        _, controllers, path = line.split(":", 2)
        if ("cpu" in controllers.split(",")) if mount == version1 else not controllers:
            at = mount
            for name in Path(path).parts[1:]:
                groups.append(at := at / name)
    return groups


def text_of(path: Path) -> str:
    """The file's text; empty if the system has no such file."""
    try:
        return path.read_text()
    except OSError:
        return ""
