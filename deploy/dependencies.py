"""Install into an image what it needs, and print how large each part is.

Used by deploy/Dockerfile, with the standard library alone:

    python3 deploy/dependencies.py worker                            the requirements of an image
    python3 deploy/dependencies.py --install worker /opt/faultline   install them and remove what no process opens
    python3 deploy/dependencies.py --sizes /opt/faultline            a table by package, largest first

Images: ``worker`` and ``gpu`` run workers, ``cpu`` and ``trainer-gpu`` run every command.
"""

import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import Distribution, distributions
from pathlib import Path

ON_GPU = ("gpu", "trainer-gpu")
WORKERS = ("worker", "gpu")
IMAGES = ("worker", "cpu", *ON_GPU)

NOT_ON_GPU = "extra != 'gpu'"
NOT_IN_WORKERS = ("jinja2", "matplotlib", "pyarrow", "river", "scikit-learn", "scipy")
"""Requirements that no worker imports: 400 MB with their own requirements. tests/deploy/test_worker_image.py runs a
worker without them; faultline/doctor.py has the same list."""

UNUSED = (
    "tensorflow/include",  # C++ headers, 290 MB
    "pyarrow/include",
    "pyarrow/tests",
    "clang",  # for TensorFlow's own build; nothing imports it
    "libclang*.dist-info",
    "numpy/tests",
    "numpy/*/tests",
    "scipy/*/tests",
    "scipy/*/*/tests",
    "sklearn/*/tests",
    "sklearn/*/*/tests",
    "matplotlib/tests",
)
"""Below site-packages: a third of what pip installs."""
UNUSED_BY_WORKERS = (
    "grpc",  # a requirement of TensorFlow, imported by its distributed parts alone
    "grpcio*.dist-info",
)
SMALL_MB = 1.0  # smaller packages share one row


def requirements(project: dict, image: str) -> list[str]:
    """Return the requirements of an image, with their markers: pip chooses the right TensorFlow for the machine.

    Example:
        >>> extras = {"gpu": ["c"], "otel": ["d"]}
        >>> listed = ["a>=1", "b; extra != 'gpu'", "scipy>=1.14"]
        >>> requirements({"dependencies": listed, "optional-dependencies": extras}, "gpu")
        ['a>=1', 'c', 'd']
        >>> requirements({"dependencies": listed, "optional-dependencies": extras}, "cpu")
        ['a>=1', "b; extra != 'gpu'", 'scipy>=1.14', 'd']
    """
    wanted, extras = project["dependencies"], project["optional-dependencies"]
    if image in WORKERS:
        wanted = [one for one in wanted if _name(one) not in NOT_IN_WORKERS]
    if image in ON_GPU:
        wanted = [one for one in wanted if NOT_ON_GPU not in one] + extras["gpu"]
    # A few MB, so that traces are a setting and not another image.
    return wanted + extras["otel"]


def _name(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0].lower()


def install(image: str, environment: Path) -> None:
    """Install the requirements of an image into a virtual environment and remove what no process opens."""
    command = [sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python"), "install"]
    wanted = requirements(read_project(), image)
    subprocess.run([*command, "-c", "constraints.txt", *wanted], check=True)  # noqa: S603 - our own pip and text
    print(f"{prune(environment, image) / 1e6:.0f} MB removed")


def prune(environment: Path, image: str) -> int:
    """Remove what no process of the image opens; return the bytes that this frees."""
    freed = 0
    for packages in site_packages(environment):
        for pattern in UNUSED + (UNUSED_BY_WORKERS if image in WORKERS else ()):
            for path in packages.glob(pattern):
                freed += size(path)
                shutil.rmtree(path)
    return freed


def site_packages(environment: Path) -> list[Path]:
    """Return the folders that hold the packages of a virtual environment."""
    return sorted(environment.glob("lib/python3*/site-packages"))


def size(path: Path) -> int:
    """Return the bytes of all files below a path."""
    return sum(file.lstat().st_size for file in path.rglob("*") if not file.is_dir() or file.is_symlink())


def sizes(environment: Path) -> dict[str, int]:
    """Return package → bytes, largest first; what belongs to no package is under ``(no package)``."""
    found = {}
    for folder in site_packages(environment):
        for one in distributions(path=[str(folder)]):
            found[f"{one.metadata['Name']} {one.version}"] = _size_of(one)
    found["(no package)"] = size(environment) - sum(found.values())
    return dict(sorted(found.items(), key=lambda pair: -pair[1]))


def _size_of(package: Distribution) -> int:
    paths = [Path(str(package.locate_file(file))) for file in package.files or ()]
    return sum(path.lstat().st_size for path in paths if path.is_file())


def table(found: dict[str, int]) -> str:
    """Return the sizes as lines of text: MB and package, then the total."""
    rows = [(count / 1e6, name) for name, count in found.items()]
    small = [megabytes for megabytes, _ in rows if megabytes < SMALL_MB]
    shown = [row for row in rows if row[0] >= SMALL_MB]
    shown += [(sum(small), f"{len(small)} smaller ones"), (sum(found.values()) / 1e6, "total")]
    return "\n".join(["      MB  package", *(f"{megabytes:8.1f}  {name}" for megabytes, name in shown)])


def read_project() -> dict:
    """Return the table ``project`` of pyproject.toml in the current folder."""
    project: dict = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project


def main() -> int:
    """See the module's text; the exit status is 2 for other arguments."""
    match sys.argv[1:]:
        case ["--install", image, environment] if image in IMAGES:
            install(image, Path(environment))
        case ["--sizes", environment]:
            print(table(sizes(Path(environment))))
        case [image] if image in IMAGES:
            print("\n".join(requirements(read_project(), image)))
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
