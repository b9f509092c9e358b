"""Valid event reports, archives and companions from which broken ones are made."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path

from tests.domains.powerline.waveforms.formats.sel_samples import RELAYS, SEL_351, compressed, plain_text
from tests.domains.powerline.waveforms.record_samples import healthy

HDR = "Fehlerart: L1-E\nFault location: 12.3 km\nТок КЗ 1200 А\n"
XML = "<FaultInfo><name>故障相别</name><value>AB</value></FaultInfo>"
INF = "[Public Event_Information_#1]\nEvent_Type=Trip A\nFault_Location=3.2\n"


def relay_seeds(folder: Path) -> list[dict[str, bytes]]:
    """Return the contents of valid files by suffix."""
    short = [replace(relay, cycles=5, trigger_cycle=2) for relay in RELAYS.values()]
    texts = [replace(SEL_351, per_cycle=per_cycle, cycles=6, trigger_cycle=2) for per_cycle in (4, 16)]
    seeds = [{".cev": compressed(relay)[0]} for relay in short]
    seeds += [{".txt": compressed(short[0])[0]}, *({".eve": plain_text(relay)} for relay in texts)]
    seeds.append({".txt": plain_text(texts[0], labels=False)})
    path = healthy(folder / "relay", segments=((1000.0, 60),)).path
    files = {suffix: path.with_suffix(suffix).read_bytes() for suffix in (".cfg", ".dat")}
    for text in (HDR.encode("cp1251", "replace"), XML.encode("gbk")):
        seeds.append({**files, ".hdr": text, ".inf": INF.encode()})
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA):
        seeds.append({".zip": _packed({f"in/a{suffix}": data for suffix, data in files.items()}, method)})
    seeds.append({".zip": _packed({"a.cev": compressed(short[0])[0], "notes.txt": b"none"}, zipfile.ZIP_DEFLATED)})
    return seeds


def _packed(members: dict[str, bytes], method: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()
