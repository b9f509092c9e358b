"""The documentation site: it builds strictly without a network, loads nothing from elsewhere, and names what exists."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import faultline
from stream.kafka.topics import topic_specs
from stream.settings import PREFIX, Settings
from tests.docs.command_lines import COMMANDS, parameters_of
from training.gate.thresholds import GateThresholds

REPOSITORY = Path(__file__).resolve().parents[2]
BUILD = """
import sys

def no_network(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        raise PermissionError(f"the build of the site asked for the network: {event} {arguments!r}")
    if event == "import" and arguments[0] in ("tensorflow", "keras"):
        raise PermissionError(f"the build of the site imports {arguments[0]}")

sys.addaudithook(no_network)
from mkdocs.__main__ import cli

cli(["build", "--strict", "--site-dir", sys.argv[1]])
"""
LOADING = {
    "script": ("src",),
    "img": ("src", "srcset"),
    "iframe": ("src",),
    "source": ("src", "srcset"),
    "video": ("src", "poster"),
    "audio": ("src",),
    "object": ("data",),
    "embed": ("src",),
    "use": ("href", "xlink:href"),
    "image": ("href", "xlink:href"),
    "link": ("href",),
}
"""Attributes whose address a browser loads by itself, by tag; a link of a page to read is none of them."""
CSS_ADDRESS = re.compile(r"""(?:url\(|@import)\s*["']?((?:https?:)?//[^"')]+)""")


class Page(HTMLParser):
    """Addresses and anchors of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.classes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        self.classes |= set(values.get("class", "").split())
        self.loaded += CSS_ADDRESS.findall(values.get("style", ""))
        if tag == "link" and "next" not in values.get("rel", "") and "prev" not in values.get("rel", ""):
            self.loaded.append(values.get("href", ""))
        elif tag != "link":
            self.loaded += [values[name] for name in LOADING.get(tag, ()) if name in values]
        if tag == "a" and "href" in values:
            self.links.append(values["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    build = subprocess.run(
        [sys.executable, "-c", BUILD, str(folder)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert build.returncode == 0, build.stdout + build.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    found = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    assert len(found) > 20
    return found


def test_no_page_loads_anything_from_another_host(site: Path, pages: dict[Path, Page]) -> None:
    loaded = {address for page in pages.values() for address in page.loaded if urlsplit(address).netloc}
    styles = {found for path in site.rglob("*.css") for found in CSS_ADDRESS.findall(path.read_text("utf-8"))}
    assert loaded | styles == set()
    # The theme's script loads a library from another host where a page has such a diagram.
    assert not any("mermaid" in page.classes for page in pages.values())


def test_what_pages_load_is_in_the_site(site: Path, pages: dict[Path, Page]) -> None:
    missing = [
        f"{path.relative_to(site)}: {address}"
        for path, page in pages.items()
        if path.name != "404.html"
        for address in page.loaded
        if not address.startswith("data:") and not (path.parent / unquote(urlsplit(address).path)).exists()
    ]
    assert missing == []


def broken_links(site: Path, pages: dict[Path, Page]) -> Iterator[str]:
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or path.name == "404.html":
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            if not target.exists():
                yield f"{path.relative_to(site)}: {link}"
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                yield f"{path.relative_to(site)}: {link} has no such anchor"


def test_every_link_within_the_site_leads_to_a_page_and_an_anchor_that_exist(
    site: Path, pages: dict[Path, Page]
) -> None:
    assert list(broken_links(site, pages)) == []


def test_the_reference_has_every_command_and_every_option(site: Path) -> None:
    text = (site / "reference" / "cli.html").read_text(encoding="utf-8")
    sections = dict(zip(*[iter(re.split(r'<h2 id="([^"]+)"', text)[1:])] * 2, strict=True))
    assert set(sections) == {name.replace(" ", "-") for name in COMMANDS}
    missing = [
        f"{name} {option}"
        for name, command in COMMANDS.items()
        for option in parameters_of(command)
        if f"<code>{option}</code>" not in sections[name.replace(" ", "-")]
    ]
    assert missing == []


def test_the_reference_has_every_setting_with_its_text(site: Path) -> None:
    text = (site / "reference" / "settings.html").read_text(encoding="utf-8")
    names = [PREFIX + name.upper() for name in Settings.model_fields]
    names += ["FAULTLINE_GATE_" + name.upper() for name in GateThresholds.model_fields]
    assert [name for name in names if f'<code id="{name.lower()}">{name}</code>' not in text] == []
    assert len(re.findall(r"<tr>(?:\s*<td>.*?</td>){4}\s*<td></td>", text)) == 0


def test_the_reference_has_every_topic_and_every_field_of_the_contract(site: Path) -> None:
    text = (site / "reference" / "contract.html").read_text(encoding="utf-8")
    assert [
        spec.name for spec in topic_specs(Settings.model_construct()) if f"<code>{spec.name}</code>" not in text
    ] == []
    for path in (REPOSITORY / "docs" / "schemas").glob("[A-Z]*.json"):
        fields = json.loads(path.read_text(encoding="utf-8"))["properties"]
        shown = text.split(f'id="schema-{path.stem.lower()}"')[1].split("<h3")[0]
        assert [name for name in fields if f"<code>{name}</code>" not in shown] == [], path.name


def test_the_reference_has_every_public_name_of_python(site: Path) -> None:
    text = (site / "reference" / "api.html").read_text(encoding="utf-8")
    homes = [f"{home}.{name}" for name, home in faultline._HOME_OF.items()]
    assert [name for name in homes if f'id="{name}"' not in text] == []
