"""Run a Faultline command in a process that lacks some packages, as in one of the smaller images.

    python -m tests.deploy.without matplotlib,scipy MODULES worker --broker localhost:9092

Imports of the packages raise ModuleNotFoundError, as if they were not installed. When the command ends, the file
MODULES holds the names of all top-level modules that it imported, one per line.
"""

from __future__ import annotations

import atexit
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType


class Refusing:
    """Finder for ``sys.meta_path`` that refuses to import some packages."""

    def __init__(self, packages: Sequence[str]) -> None:
        self.packages = frozenset(packages)

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Raise the error of a package that is not installed; leave every other to the next finder."""
        if name.partition(".")[0] in self.packages:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


def main() -> None:
    """See the module's text."""
    packages, modules, *arguments = sys.argv[1:]
    sys.meta_path.insert(0, Refusing(packages.split(",")))
    path = Path(modules)
    atexit.register(lambda: path.write_text("\n".join(sorted({name.partition(".")[0] for name in sys.modules}))))
    sys.argv = ["faultline", *arguments]
    from faultline.cli import main as command

    command()


if __name__ == "__main__":
    main()
