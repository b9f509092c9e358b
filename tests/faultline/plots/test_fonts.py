"""Names in every script are drawn, or replaced where no installed font can draw them."""

from __future__ import annotations

import logging
import threading
import warnings
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from matplotlib import rcParams
from matplotlib.text import Text

from faultline.plots.figures import new_figure, save
from faultline.plots.fonts import (
    FAMILIES,
    REMEDY,
    SUBSTITUTE,
    USUAL,
    families_for,
    is_drawable,
    make_drawable,
    with_substitutes,
)

SCRIPTS = {
    "Chinese": "110kV城东线 电流",
    "Japanese": "東京変電所 かな カナ",
    "Korean": "변전소",
    "Cyrillic": "ПС Южная, ток линии",
    "Greek": "Γραμμή Αθήνα",
    "Thai": "สถานี",
    "Vietnamese": "Đường dây",
    "formula": "a_b $x^2 \\frac{1}{$ 100 %",
    "control": "bell\a tab\t esc\x1b",
    "control and rows": "bell\a\nnext row",
    "surrogate": "file \udcff name",
}


def drawn(text: str, path: Path) -> list[str]:
    """Draw a text as the title of a figure, and return all texts that the figure then holds."""
    figure = new_figure(4, 2)
    figure.suptitle(text)
    save(figure, path)
    assert path.read_bytes().startswith(b"\x89PNG")
    return [found.get_text() for found in figure.findobj(match=Text) if isinstance(found, Text)]


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_is_drawn_without_a_word_of_matplotlib(
    script: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error")
        drawn(SCRIPTS[script], tmp_path / "out.png")
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("script", ["Cyrillic", "Greek", "Vietnamese"])
def test_the_usual_font_draws_scripts_of_europe_and_vietnam_as_they_are(script: str, tmp_path: Path) -> None:
    assert families_for(SCRIPTS[script]) == (USUAL,)
    assert drawn(SCRIPTS[script], tmp_path / "out.png")[0] == SCRIPTS[script]


def test_chinese_is_drawn_with_a_font_or_replaced_with_the_remedy(tmp_path: Path) -> None:
    name = SCRIPTS["Chinese"]
    texts = drawn(name, tmp_path / "out.png")
    if is_drawable(name):
        assert texts[0] == name
        assert REMEDY not in texts
    else:
        assert texts[0] == f"110kV{SUBSTITUTE} {SUBSTITUTE}"
        assert texts.count(REMEDY) == 1


@given(st.text())
@example("\x00城\x00")
@example("]^-\\城")
def test_what_is_left_after_substitution_can_be_drawn(text: str) -> None:
    families = families_for(text)
    replaced = with_substitutes(text, families)
    assert with_substitutes(replaced, families) == replaced
    assert is_drawable(text) == (replaced == text)


def test_a_text_of_the_user_keeps_its_ellipsis_without_the_remedy(tmp_path: Path) -> None:
    assert REMEDY not in drawn("Südring …", tmp_path / "out.png")


def test_control_characters_need_no_other_font(tmp_path: Path) -> None:
    assert drawn("bell\a\nrow\udcff", tmp_path / "out.png") == ["bell \nrow "]


def test_settings_of_the_program_are_left_alone(tmp_path: Path) -> None:
    settings = [name for name in rcParams if not name.startswith("backend")]
    before = [rcParams[name] for name in settings]
    drawn(SCRIPTS["Chinese"], tmp_path / "out.png")
    assert [rcParams[name] for name in settings] == before


def test_threads_draw_at_the_same_time(tmp_path: Path) -> None:
    failed: list[BaseException] = []

    def draw(number: int) -> None:
        try:
            drawn(list(SCRIPTS.values())[number % len(SCRIPTS)], tmp_path / f"{number}.png")
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=draw, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_tick_labels_and_legends_are_left_in_the_font_of_the_program() -> None:
    figure = new_figure(4, 2)
    axis = figure.subplots()
    axis.plot([0, 1], [0, 1], label="ia")
    axis.legend()
    axis.set_title("城")
    make_drawable(figure)
    (title,) = [text for text in figure.findobj(match=Text) if isinstance(text, Text) and text is axis.title]
    assert title.get_fontfamily()[0] == USUAL
    assert axis.get_xticklabels()[0].get_fontfamily() == rcParams["font.family"]


def test_families_are_named_once() -> None:
    assert len(set(FAMILIES)) == len(FAMILIES)
