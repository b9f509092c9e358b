"""The model and the stream need no TensorFlow: any other Keras backend can take its place."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("model", "stream")
# The only module that depends on the Keras backend; it imports TensorFlow in functions, for that backend alone.
FOR_TENSORFLOW = "model/engine/compile.py"
_IMPORT_ALL = """
import importlib, pkgutil, sys

package = sys.argv[1]

class NoTensorFlow:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "tensorflow":
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, NoTensorFlow())
count = 0
for module in pkgutil.walk_packages([package], f"{package}."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
        count += 1
import keras
assert "tensorflow" not in sys.modules
print(keras.backend.backend(), count)
"""


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_every_module_is_imported_where_tensorflow_cannot_be(backend: str, package: str) -> None:
    for needed in (backend, "faust") if package == "stream" else (backend,):
        if find_spec(needed) is None:
            pytest.skip(f"{needed} is not installed")
    environment = os.environ | {"KERAS_BACKEND": backend}
    command = [sys.executable, "-c", _IMPORT_ALL, package]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    used, count = done.stdout.split()
    assert used == backend
    assert int(count) > 20


def _imports_of_tensorflow(tree: ast.AST, inside: str = "") -> Iterator[tuple[int, str]]:
    """Yield line and enclosing function, empty at module level, of every import of TensorFlow."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        if any(name.partition(".")[0] == "tensorflow" for name in names):
            yield node.lineno, inside  # type: ignore[attr-defined]
        within = node.name if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else inside
        yield from _imports_of_tensorflow(node, within)


def test_only_functions_for_its_backend_import_tensorflow() -> None:
    found = {
        path.relative_to(REPOSITORY).as_posix(): list(_imports_of_tensorflow(ast.parse(path.read_text("utf-8"))))
        for package in PACKAGES
        for path in (REPOSITORY / package).rglob("*.py")
    }
    others = {name: lines for name, lines in found.items() if lines and name != FOR_TENSORFLOW}
    assert others == {}
    assert found[FOR_TENSORFLOW], "nothing would be checked"
    assert all(function for _, function in found[FOR_TENSORFLOW]), "an import at module level"
