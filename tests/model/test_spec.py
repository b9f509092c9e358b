from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from model.errors import SpecError
from model.spec import load_spec

OWN = """
name = "own"
channels = ["ia", "va"]
samples = 16
hop = 4
samples_per_cycle = 16
nominal_hz = 60.0
classes = [
  { name = "quiet", type = "none" },
  { name = "AG", type = "lg", phases = "A", ground = true },
]
"""


def own(tmp_path: Path, old: str = "", new: str = "") -> Path:
    assert old in OWN
    path = tmp_path / "own.toml"
    path.write_text(OWN.replace(old, new) if old else OWN, encoding="utf-8")
    return path


def test_channels_and_classes_are_found_by_their_names() -> None:
    spec = load_spec("line")
    assert spec.channel_index("vb") == 4
    with pytest.raises(SpecError, match="no channel 'vn'; there are ia, ib"):
        spec.channel_index("vn")
    with pytest.raises(SpecError, match="no class 'AC'; there are none, AG"):
        spec.class_index("AC")


def test_a_users_own_spec_is_loaded_by_its_path(tmp_path: Path) -> None:
    path = own(tmp_path)
    assert load_spec(path) == load_spec(str(path))
    assert load_spec(path).class_names == ("quiet", "AG")


def test_the_digest_follows_the_content_and_not_the_file(tmp_path: Path) -> None:
    first = load_spec(own(tmp_path)).digest
    assert load_spec(own(tmp_path, "samples = 16", "samples   =   16  # one cycle")).digest == first
    assert load_spec(own(tmp_path, "hop = 4", "hop = 8")).digest != first


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("hop = 4", "hop = 0", "hop: Input should be greater than or equal to 1, got 0"),
        ("hop = 4", "", "hop: Field required"),
        ("hop = 4", "hop = 4\nstride = 2", "stride: Extra inputs are not permitted"),
        ('["ia", "va"]', '["ia", "ia"]', "channels: ia occurs more than once"),
        ('"AG", type', '"quiet", type', "classes: quiet occurs more than once"),
        ("hop = 4", 'hop = 4\ndomain = "sonar"', "no domain 'sonar' is installed; there are powerline"),
        ("hop = 4", "hop = 4\ndomain = 7", "domain: Input should be a valid string"),
        ("hop = 4", 'hop = 4\nequivalent = [["AG", "BG"]]', "equivalent: there is no class 'BG'"),
        ("hop = 4", 'hop = 4\nequivalent = [["AG"], ["AG"]]', "equivalent: AG occurs more than once"),
        ("hop = 4", 'hop = 4\nequivalent = [["quiet", "AG"]]', "equivalent: the no-fault class"),
        ('type = "lg"', 'type = "LG"', "classes.1.type: String should match pattern"),
        ('phases = "A"', 'phases = "N"', "classes.1.phases: String should match pattern"),
        ('phases = "A"', 'poles = "A"', "classes.1.poles: Extra inputs are not permitted"),
        ('type = "none"', 'type = "lll"', "classes: exactly one class must have type 'none', found no class"),
        ('phases = "A"', 'phases = "AB"', r"type 'lg' has 1 phase\(s\), not 'AB'"),
        ('type = "lg", phases = "A"', 'type = "llg", phases = "AA"', "'AA' repeats a phase"),
        ("ground = true", "ground = false", "type 'lg' needs ground = true"),
        ("nominal_hz = 60.0", "nominal_hz = nan", "nominal_hz: Input should be"),
        ('name = "own"', 'name = "own"\nepisode = { confirm = 5, of = 4 }', "confirm must be ≤ of"),
        ("hop = 4", "hop = ", "not valid TOML"),
        ("samples = 16", "samples = 1000000", "samples: Input should be less than or equal to 4096"),
    ],
)
def test_a_wrong_spec_is_refused_in_one_line_naming_file_and_field(
    tmp_path: Path, old: str, new: str, complaint: str
) -> None:
    path = own(tmp_path, old, new)
    with pytest.raises(SpecError, match=complaint) as caught:
        load_spec(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_an_unknown_name_lists_the_shipped_specs() -> None:
    with pytest.raises(SpecError, match=r"no signal spec 'lines'; shipped are instant, line"):
        load_spec("lines")


def test_a_missing_or_binary_file_is_a_spec_error(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="No such file"):
        load_spec(tmp_path / "absent.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SpecError, match="not UTF-8"):
        load_spec(tmp_path / "binary.toml")


def test_specs_and_artefacts_are_read_without_importing_a_deep_learning_library() -> None:
    code = "import sys, model.spec, model.artefact; assert not {'keras', 'tensorflow'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
