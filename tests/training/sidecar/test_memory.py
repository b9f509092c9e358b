"""The memory that a retraining may take is the container's, of either version of control groups, or the machine's."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.sidecar.memory import LEAST_RESERVE_BYTES, MIB, Memory, memory_here

GIB = 1 << 30


class System:
    """A file system with the files in which Linux reports memory."""

    def __init__(self, root: Path, total: int = 8 * GIB, available: int = 6 * GIB) -> None:
        self.root = root
        self.write("proc/meminfo", f"MemTotal: {total >> 10} kB\nMemFree: 1 kB\nMemAvailable: {available >> 10} kB\n")

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="ascii")

    def group_v2(self, path: str, limit: object, used: int, cached: int = 0) -> None:
        folder = f"sys/fs/cgroup/{path}".rstrip("/")
        self.write(f"{folder}/memory.max", f"{limit}\n")
        self.write(f"{folder}/memory.current", f"{used}\n")
        self.write(f"{folder}/memory.stat", f"anon 1\ninactive_file {cached}\nactive_file 5\n")

    def group_v1(self, path: str, limit: int, used: int, cached: int = 0) -> None:
        folder = f"sys/fs/cgroup/memory/{path}".rstrip("/")
        self.write(f"{folder}/memory.limit_in_bytes", f"{limit}\n")
        self.write(f"{folder}/memory.usage_in_bytes", f"{used}\n")
        self.write(f"{folder}/memory.stat", f"cache 1\ninactive_file 3\ntotal_inactive_file {cached}\n")

    @property
    def memory(self) -> Memory:
        found = memory_here(self.root)
        assert found is not None
        return found


@pytest.fixture
def system(tmp_path: Path) -> System:
    return System(tmp_path)


def test_without_a_container_it_is_what_the_machine_has_available(system: System) -> None:
    assert system.memory == Memory("machine", 8 * GIB, 6 * GIB)


def test_a_container_s_limit_is_read_with_what_it_uses_and_its_page_cache_counts_as_free(system: System) -> None:
    system.write("proc/self/cgroup", "0::/\n")
    system.group_v2("", 4 * GIB, used=GIB, cached=GIB // 4)
    assert system.memory == Memory("cgroup", 4 * GIB, 3 * GIB + GIB // 4)


def test_so_it_is_with_version_1(system: System) -> None:
    system.write("proc/self/cgroup", "12:pids:/x\n4:memory:/docker/7b18\n1:name=systemd:/docker/7b18\n")
    # A container sees its own group as the root of the mount, and its path is the host's.
    system.group_v1("", 4 * GIB, used=GIB, cached=GIB // 4)
    assert system.memory == Memory("cgroup", 4 * GIB, 3 * GIB + GIB // 4)


def test_of_nested_groups_the_tightest_counts(system: System) -> None:
    system.write("proc/self/cgroup", "0::/kubepods/pod1/trainer\n")
    system.group_v2("kubepods/pod1/trainer", "max", used=GIB)
    system.group_v2("kubepods/pod1", 3 * GIB, used=2 * GIB)
    system.group_v2("kubepods", 7 * GIB, used=3 * GIB)
    assert system.memory == Memory("cgroup", 3 * GIB, GIB)


def test_a_limit_above_what_the_machine_has_free_is_no_memory(system: System) -> None:
    system.write("proc/self/cgroup", "0::/\n")
    system.group_v2("", 14 * GIB, used=GIB)
    assert system.memory.source == "machine"


@pytest.mark.parametrize("limit", ["max", "9223372036854771712"])
def test_no_limit_is_the_machine_s(system: System, limit: str) -> None:
    if limit == "max":
        system.group_v2("", limit, used=GIB)
    else:
        system.write("proc/self/cgroup", "4:memory:/\n")
        system.group_v1("", int(limit), used=GIB)
    assert system.memory.source == "machine"


def test_a_system_that_says_nothing_has_no_limit(tmp_path: Path) -> None:
    assert memory_here(tmp_path) is None


def test_a_tenth_stays_for_the_trainer_and_never_less_than_it_needs() -> None:
    assert Memory("cgroup", 10_000 * MIB, 9_000 * MIB).allowed_mb == 8_000
    least_mb = LEAST_RESERVE_BYTES // MIB
    assert Memory("cgroup", 1_000 * MIB, 900 * MIB).allowed_mb == 900 - least_mb
    assert Memory("cgroup", 1_000 * MIB, 100 * MIB).allowed_mb == 0


def test_this_machine_has_memory() -> None:
    found = memory_here()
    assert found is not None
    assert 0 < found.free_bytes <= found.limit_bytes
