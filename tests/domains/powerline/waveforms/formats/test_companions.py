"""The statements about the event in .hdr and .inf files beside a COMTRADE record, and in sections of a CFF."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domains.powerline.waveforms import ReadOptions, open_waveforms
from domains.powerline.waveforms.formats.companions import MAX_STATEMENT, MOST_STATEMENTS, statements_in
from tests.domains.powerline.waveforms.record_samples import healthy


def said(text: str, encoding: str = "utf-8", source: str = "a.hdr") -> list[str]:
    data = text.encode(encoding)
    return [statement.text for statement in statements_in(data, source, Path(source), None)]


TEXTS = {
    "English": ("Relay 12\r\nFault type: A-G\r\nFault location: 12.3 km\r\nCT ratio: 600/5\r\n", "utf-8"),
    "German": ("Gerät 7\nFehlerart: L1-E\nFehlerort: 45,2 km\nAuslösung nach 62 ms\n", "cp1252"),
    "Spanish": ("Subestación Norte\nTipo de falla: AB\nDistancia: 3,5 km\n", "cp1252"),
    "Russian": ("ПС Северная\nВид КЗ: А0\nРасстояние до места повреждения 12,4 км\n", "cp1251"),
    "Chinese": ("变电站 母线\n故障相别 AB\n故障测距 23.1 km\n", "gbk"),
    "UTF-16": ("Station\nTrip: phase C, 87L\nDuration: 80 ms\n", "utf-16"),
}


@pytest.mark.parametrize("language", TEXTS)
def test_lines_that_speak_of_the_event_are_taken(language: str) -> None:
    text, encoding = TEXTS[language]
    found = said(text, encoding)
    assert len(found) == len(text.splitlines()) - (2 if language == "English" else 1)
    assert found[0] == text.splitlines()[1]


def test_a_header_that_does_not_speak_of_an_event_gives_its_first_lines() -> None:
    assert said("\n===\nNorth station, bay 4\nRecorder XY\nVersion 3\n") == ["North station, bay 4", "Recorder XY"]
    assert said("[Public]\nVersion=3\n", source="a.inf") == []


def test_keys_of_an_inf_are_taken_with_their_values() -> None:
    text = "[Public Event_Information_#1]\nEvent_Type=Trip A\nFault_Location = 3.2 miles\nChannel=7\nEvent_Note=\n"
    assert said(text, source="a.inf") == ["Event_Type: Trip A", "Fault_Location: 3.2 miles"]


def test_elements_of_xml_become_lines() -> None:
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<FaultReport>\n<DeviceInfo><name>型号</name><value>PSL</value>'
        "</DeviceInfo>\n<TripInfo><time>12ms</time><name>差动保护动作</name><phase>A</phase></TripInfo>\n"
        "<FaultInfo><name>故障测距</name><value>8.5km</value></FaultInfo>\n"
        "<FaultDuration>52 ms</FaultDuration><x/></FaultReport>"
    )
    assert said(text) == ["12ms 差动保护动作 A", "故障测距 8.5km", "FaultDuration: 52 ms"]


@pytest.mark.parametrize("names", [("record.hdr", "record.inf"), ("RECORD.HDR", "Record.INF")])
def test_companions_are_found_in_any_case(tmp_path: Path, names: tuple[str, str]) -> None:
    path = healthy(tmp_path).path
    (tmp_path / names[0]).write_text("Fault type: BG\n")
    (tmp_path / names[1]).write_text("[Public]\nTrip=yes, zone 1\n")
    (tmp_path / "other.hdr").write_text("Fault type: CG\n")
    found = [(statement.source, statement.text) for statement in open_waveforms(path).statements]
    assert found == [(names[0], "Fault type: BG"), (names[1], "Trip: yes, zone 1")]


def test_sections_of_a_cff_are_read(tmp_path: Path) -> None:
    path = healthy(tmp_path, container="cff").path
    content = path.read_bytes()
    content = content.replace(b"--- file type: INF ---", b"--- file type: INF ---\r\n[Public]\r\nEvent=ABG trip")
    path.write_bytes(content.replace(b"--- file type: HDR ---", b"--- file type: HDR ---\r\nFault location 7 km"))
    found = [(statement.source, statement.text) for statement in open_waveforms(path).statements]
    assert found == [("HDR", "Fault location 7 km"), ("INF", "Event: ABG trip")]


def test_a_companion_in_another_encoding_than_the_header_is_read(tmp_path: Path) -> None:
    path = healthy(tmp_path).path
    (tmp_path / "record.hdr").write_bytes("Вид повреждения: КЗ АВ".encode("cp1251"))
    record = open_waveforms(path, options=ReadOptions(encoding="utf-8"))
    assert record.statements[0].text == "Вид повреждения: КЗ АВ"


def test_a_companion_that_is_no_text_says_nothing(tmp_path: Path) -> None:
    path = healthy(tmp_path).path
    (tmp_path / "record.hdr").write_bytes(bytes(range(256)) * 40)
    (tmp_path / "record.inf").mkdir()
    assert open_waveforms(path).statements == ()


@given(data=st.binary(max_size=400) | st.text(max_size=200).map(lambda text: f"<a>fault {text}".encode()))
def test_any_bytes_give_few_short_lines(data: bytes) -> None:
    found = statements_in(data, "a.hdr", Path("a.hdr"), None)
    assert len(found) <= MOST_STATEMENTS
    assert all(0 < len(item.text) <= MAX_STATEMENT and item.text.isprintable() for item in found)


def test_a_long_companion_is_read_only_at_its_start() -> None:
    text = "nothing here\n" * 40_000 + "Fault type: AG\n"
    assert said(text) == ["nothing here"]
    assert len(said("Fault " + "x" * 5000)[0]) == MAX_STATEMENT
