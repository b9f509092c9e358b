"""What the images install, read from pyproject.toml, and what of it no process of ours ever opens.

Used by deploy/Dockerfile:

    python3 deploy/dependencies.py cpu > requirements.txt
    python3 deploy/dependencies.py --prune /opt/faultline
"""

import shutil
import sys
import tomllib
from pathlib import Path

NOT_ON_GPU = "extra != 'gpu'"
UNUSED = (
    "tensorflow/include",  # C++ headers, 290 MB
    "pyarrow/include",
    "pyarrow/tests",
    "clang",  # of TensorFlow's build; nothing imports it
    "libclang*.dist-info",
    "scipy/*/tests",
    "scipy/*/*/tests",
    "sklearn/*/tests",
    "sklearn/*/*/tests",
    "matplotlib/tests",
)
"""Below site-packages. A third of what pip installs."""


def requirements(project: dict, target: str) -> list[str]:
    """Requirements of an image: ``cpu`` or ``gpu``.

    Example:
        >>> extras = {"gpu": ["c"], "otel": ["d"]}
        >>> requirements({"dependencies": ["a>=1", "b; extra != 'gpu'"], "optional-dependencies": extras}, "gpu")
        ['a>=1', 'c', 'd']
    """
    wanted, extras = project["dependencies"], project["optional-dependencies"]
    # A few MB, so that traces are a setting and no other image.
    traces = extras["otel"]
    if target == "cpu":
        return [requirement.partition(";")[0].strip() for requirement in wanted] + traces
    return [one for one in wanted if NOT_ON_GPU not in one] + extras["gpu"] + traces


def prune(environment: Path) -> int:
    """Remove what is not used; returns bytes."""
    freed = 0
    for packages in environment.glob("lib/python3*/site-packages"):
        for pattern in UNUSED:
            for path in packages.glob(pattern):
                freed += sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
                shutil.rmtree(path)
    return freed


def main() -> None:
    """See the module's text."""
    if sys.argv[1] == "--prune":
        print(f"{prune(Path(sys.argv[2])) / 1e6:.0f} MB removed")
        return
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    print("\n".join(requirements(project, sys.argv[1])))


if __name__ == "__main__":
    main()
