"""Check what the images install, by image and machine, and how its sizes are printed."""

from __future__ import annotations

import doctest
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement

from faultline.doctor import NOT_IN_WORKERS
from tests.deploy.platforms import PLATFORMS, PROJECT, REPOSITORY

SCRIPT = REPOSITORY / "deploy" / "dependencies.py"


def load() -> ModuleType:
    """Import the script, which is in no package."""
    found = importlib.util.spec_from_file_location("dependencies", SCRIPT)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


DEPENDENCIES = load()


def installed(image: str, platform: str) -> set[str]:
    """Return the names of the packages of pyproject.toml that pip would install into an image on a platform."""
    wanted = [Requirement(line) for line in DEPENDENCIES.requirements(PROJECT, image)]
    seen = PLATFORMS[platform].markers | {"extra": ""}
    return {one.name for one in wanted if one.marker is None or one.marker.evaluate(seen)}


def test_its_examples_run() -> None:
    failed, attempted = doctest.testmod(DEPENDENCIES)
    assert (failed, attempted > 3) == (0, True)


@pytest.mark.parametrize("image", ["worker", "cpu", "gpu", "trainer-gpu"])
@pytest.mark.parametrize("platform", ["linux_x86_64", "linux_aarch64"])
def test_every_image_has_the_one_tensorflow_that_its_machine_has_wheels_of(image: str, platform: str) -> None:
    cpu = platform == "linux_x86_64" and image in ("worker", "cpu")
    tensorflow = {name for name in installed(image, platform) if name.startswith("tensorflow")}
    assert tensorflow == {"tensorflow-cpu" if cpu else "tensorflow"}
    cuda = [line for line in DEPENDENCIES.requirements(PROJECT, image) if "and-cuda" in line]
    assert len(cuda) == (1 if image.endswith("gpu") else 0)


def test_the_images_of_workers_leave_out_what_no_worker_imports_and_the_others_nothing() -> None:
    everything = {Requirement(line).name for line in PROJECT["dependencies"]} - {"tensorflow"}
    assert installed("cpu", "linux_x86_64") >= everything
    assert everything - installed("worker", "linux_x86_64") == set(DEPENDENCIES.NOT_IN_WORKERS)
    assert installed("trainer-gpu", "linux_x86_64") - installed("gpu", "linux_x86_64") == set(
        DEPENDENCIES.NOT_IN_WORKERS
    )


def test_the_doctor_knows_the_same_packages() -> None:
    assert tuple(NOT_IN_WORKERS) == DEPENDENCIES.NOT_IN_WORKERS


def test_the_dockerfile_builds_every_image_in_the_same_steps() -> None:
    text = (REPOSITORY / "deploy" / "Dockerfile").read_text("utf-8")
    for image in DEPENDENCIES.IMAGES:
        assert f"deploy/dependencies.py --install {image} /opt/faultline" in text
        assert f"FROM run AS {image}\nCOPY --from={image}-installed /opt/faultline /opt/faultline\n" in text
        assert f"FROM {image}-dependencies AS {image}-installed\n" in text


def environment(folder: Path) -> Path:
    """Create a virtual environment as pip leaves it: two packages, and a file that belongs to no package."""
    packages = folder / "lib" / "python3.11" / "site-packages"
    for name, count in (("tensorflow", 5_000_000), ("numpy", 2_000_000)):
        content = packages / name / "content.so"
        content.parent.mkdir(parents=True)
        content.write_bytes(bytes(count))
        about = packages / f"{name}-2.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.0\n")
        (about / "RECORD").write_text(f"{name}/content.so,,\n{name}/include/gone.h,,\n{name}-2.0.dist-info/RECORD,,\n")
    (packages / "tensorflow" / "include").mkdir()
    (packages / "tensorflow" / "include" / "gone.h").write_bytes(bytes(3_000_000))
    (packages / "grpc").mkdir()
    (packages / "grpc" / "loose.so").write_bytes(bytes(1_500_000))
    return folder


def test_sizes_are_a_table_by_package_with_the_largest_first_and_the_total(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--sizes", str(environment(tmp_path))]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
    rows = [(float(line[:8]), line[10:]) for line in shown[1:]]
    assert [name for _, name in rows] == ["tensorflow 2.0", "numpy 2.0", "(no package)", "0 smaller ones", "total"]
    by_name = {name: megabytes for megabytes, name in rows}
    assert by_name["tensorflow 2.0"] == 8.0
    assert by_name["numpy 2.0"] == 2.0
    assert by_name["total"] == pytest.approx(11.5, abs=0.1)


@pytest.mark.parametrize(("image", "freed", "has_grpc"), [("worker", 4_500_000, False), ("cpu", 3_000_000, True)])
def test_what_no_process_opens_is_removed(tmp_path: Path, image: str, freed: int, has_grpc: bool) -> None:
    folder = environment(tmp_path)
    assert DEPENDENCIES.prune(folder, image) == freed
    packages = folder / "lib" / "python3.11" / "site-packages"
    assert not (packages / "tensorflow" / "include").exists()
    assert (packages / "tensorflow" / "content.so").exists()
    assert (packages / "grpc").exists() == has_grpc


def test_an_image_that_is_none_is_refused() -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), "worker-cpu"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "--install worker" in done.stderr
