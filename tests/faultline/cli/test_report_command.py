"""``faultline report compact`` writes the page of a report that is there already."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from faultline.cli.commands import register
from tests.training.report.report_samples import report_data
from training.errors import DataSetError
from training.report.render import write


def compact(document: Path, out: Path) -> str:
    app = typer.Typer()
    register(app)
    done = CliRunner().invoke(app, ["report", "compact", str(document), "--out", str(out)])
    if isinstance(done.exception, DataSetError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def test_it_writes_the_page_of_a_report_and_no_other_file(tmp_path: Path) -> None:
    document, page, _ = write(report_data(), tmp_path / "report")
    out = tmp_path / "small"
    assert compact(document, out).strip() == str(out / "report.md")
    assert (out / "report.md").read_bytes() == page.read_bytes()
    assert {path.name for path in out.iterdir()} == {"report.md", "figures"}


def test_a_document_that_is_no_report_or_not_there_is_one_line(tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text('{"schema_version": 1}')
    with pytest.raises(DataSetError, match=r"^\S*other\.json: not a report\.json of `faultline report`: .*$"):
        compact(other, tmp_path / "out")
    with pytest.raises(DataSetError, match=r"missing\.json: No such file or directory$"):
        compact(tmp_path / "missing.json", tmp_path / "out")
