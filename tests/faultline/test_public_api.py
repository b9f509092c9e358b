"""The public API: every name exists, has types, and costs nothing before it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import faultline


@pytest.mark.parametrize("name", faultline.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(faultline, name) is not None
    assert name in dir(faultline)


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'classifying'"):
        _ = faultline.classifying  # type: ignore[attr-defined]


def test_importing_the_package_imports_neither_tensorflow_nor_faust() -> None:
    code = "import sys, faultline; faultline.load_spec('line'); print([m for m in HEAVY if m in sys.modules])"
    heavy = "HEAVY = ('tensorflow', 'keras', 'faust', 'aiokafka', 'pyarrow'); "
    printed = subprocess.run([sys.executable, "-c", heavy + code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"
