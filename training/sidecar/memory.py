"""Read how much memory a retraining may use: the free memory of the container or of the machine, whichever is less.

The limit of a container is read from its control group: version 2 (``memory.max``) or version 1
(``memory.limit_in_bytes``). The page cache counts as free, since the kernel reclaims it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20
RESERVED_PART = 0.1
"""Share of the limit that is reserved for the trainer and, on a machine without limits, for growing workers."""
LEAST_RESERVE_BYTES = 384 * MIB
"""Smallest reserve; the trainer itself grows by some 200 MB while it reads windows and serves requests."""
UNLIMITED_BYTES = 1 << 60
"""Value from which a limit means no limit: version 1 reports the largest possible number of pages in that case."""
SYSTEM = Path("/")


@dataclass(frozen=True)
class Memory:
    """Memory limit and the free part of it.

    Attributes:
        source: "cgroup" or "machine".
        limit_bytes: the limit.
        free_bytes: free part of the limit, including the page cache.
    """

    source: str
    limit_bytes: int
    free_bytes: int

    @property
    def allowed_mb(self) -> int:
        """Return the memory that a child process may use, in MiB: the free memory without the reserve."""
        reserve = max(LEAST_RESERVE_BYTES, RESERVED_PART * self.limit_bytes)
        return max(0, int(self.free_bytes - reserve) // MIB)


def memory_here(root: Path = SYSTEM) -> Memory | None:
    """Return the tightest memory limit of this process; None if the system reports none.

    Args:
        root: root of the file system; tests give another folder.
    """
    found = [*_limits_v2(root), *_limits_v1(root)]
    machine = _machine(root)
    if machine is not None:
        found.append(machine)
    return min(found, key=lambda memory: memory.allowed_mb, default=None)


def _limits_v2(root: Path) -> Iterator[Memory]:
    """Yield the limits of this process's control group and of all its ancestors, version 2."""
    for folder in _folders(root / "sys/fs/cgroup", _group(root, "")):
        limit, used = _number(folder / "memory.max"), _number(folder / "memory.current")
        if limit is not None and used is not None:
            yield Memory("cgroup", limit, _free(limit, used, folder, "inactive_file"))


def _limits_v1(root: Path) -> Iterator[Memory]:
    """Yield the limits of this process's control group and of all its ancestors, version 1."""
    for folder in _folders(root / "sys/fs/cgroup/memory", _group(root, "memory")):
        limit, used = _number(folder / "memory.limit_in_bytes"), _number(folder / "memory.usage_in_bytes")
        if limit is not None and limit < UNLIMITED_BYTES and used is not None:
            yield Memory("cgroup", limit, _free(limit, used, folder, "total_inactive_file"))


def _free(limit: int, used: int, folder: Path, reclaimable: str) -> int:
    cached = _entry(folder / "memory.stat", reclaimable) or 0
    return max(0, limit - used + min(cached, used))


def _machine(root: Path) -> Memory | None:
    total = _entry(root / "proc/meminfo", "MemTotal:")
    free = _entry(root / "proc/meminfo", "MemAvailable:")
    if total is not None and free is not None:
        return Memory("machine", total * 1024, free * 1024)
    try:  # not Linux: the free memory is unknown, so half of the total counts as free
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None
    return Memory("machine", total, total // 2) if root == SYSTEM else None


def _group(root: Path, controller: str) -> str:
    """Return the path of this process's control group for a controller; "" is the single hierarchy of version 2."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "/"
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return path
    return "/"


def _folders(mount: Path, group: str) -> Iterator[Path]:
    """Yield the visible folders of a group and of its ancestors.

    A container often sees its own group as the root of the mount, while the group's path is the one on the host.
    """
    parts = [part for part in group.split("/") if part not in ("", ".", "..")]
    for depth in range(len(parts), -1, -1):
        folder = mount.joinpath(*parts[:depth])
        if folder.is_dir():
            yield folder


def _number(path: Path) -> int | None:
    """Return the number in a file; None if there is no such file or it contains "max"."""
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _entry(path: Path, name: str) -> int | None:
    """Return the number after a name in a file of names and numbers; None if there is none."""
    try:
        for line in path.read_text(encoding="ascii").splitlines():
            words = line.split()
            if words[:1] == [name]:
                return int(words[1])
    except (OSError, ValueError, IndexError):
        pass
    return None
