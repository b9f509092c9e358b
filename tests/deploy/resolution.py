"""Resolve our requirements with pip's resolver for platforms and Pythons other than the running ones.

    python -m tests.deploy.resolution pyproject.toml constraints.txt linux_x86_64:3.11:dev,bench [TARGET …]

Prints one JSON object per line for each combination: ``{"target", "packages", "compiled", "error", "seconds"}``.
Exit status 0 when every combination resolves, 1 when one does not, 3 when no index can be reached.

It calls ``pip install --dry-run --ignore-installed --only-binary=:all: --platform … --python-version …`` in this
process and changes five things inside pip, none of which decides what fits:

- Markers: ``--platform`` chooses wheels only; pip evaluates markers for the interpreter that runs it. Here they are
  evaluated for the target.
- Index pages are read once for all combinations. Of a package that constraints.txt pins, only the files of that version
  are looked at; pip could choose no others.
- Metadata is read once per package and version, from one wheel by ranges of bytes (``fast-deps``). The wheels of one
  release are taken to have the same metadata, as other resolvers do.
- Requirements that were parsed before, and the tags of this machine, are kept: half of the time otherwise.
- A dry run ends there: pip would go on and download all wheels, 2 GB for each combination.

Faust has no wheel for Linux on aarch64: its source distribution is compiled there. Its own requirements, read from its
wheel for another platform, take its place for that target.
"""

from __future__ import annotations

import copy
import functools
import io
import itertools
import json
import sys
import time
import tomllib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from pip._internal.cli.main import main as pip
from pip._internal.commands.install import InstallCommand
from pip._internal.index import collector, package_finder
from pip._internal.metadata.importlib import _dists
from pip._internal.network.lazy_wheel import dist_from_wheel_url
from pip._internal.operations import prepare
from pip._internal.req.req_install import InstallRequirement
from pip._internal.resolution.resolvelib import factory
from pip._vendor.packaging import markers
from pip._vendor.packaging.requirements import Requirement
from pip._vendor.packaging.utils import canonicalize_name

from tests.deploy.platforms import PLATFORMS

COMPILED = {("linux_aarch64", "faust-streaming")}
"""Platform and package: no wheel, but a source distribution that a C compiler builds."""
READERS = 8  # threads that read metadata; reading is waiting for the network
RESOLVED, UNRESOLVED, UNREACHABLE = 0, 1, 3


class Index:
    """The configured package index, read once."""

    def __init__(self, pins: dict[str, str]) -> None:
        self._pins = pins
        self.pages: dict[str, Any] = {}
        self._links: dict[str, list[Any]] = {}
        self._metadata: dict[tuple[str, str], Any] = {}
        self._fetch, self._parse = collector.LinkCollector.fetch_response, package_finder.parse_links
        command = InstallCommand("install", "")
        options, _ = command.parse_args([])
        with command.main_context():
            self._session = command.get_default_session(options)
            self._collector = command._build_package_finder(options, self._session)._link_collector
            with ThreadPoolExecutor(READERS) as readers:
                list(readers.map(self._read, pins))

    def _read(self, name: str) -> None:
        """Read the page of a pinned package and the metadata of its version."""
        sources = self._collector.collect_sources(name, candidates_from_page=lambda link: [])
        for source in sources.index_urls:
            page = self.page(self._collector, source.link)
            wheels = [] if page is None else [link for link in self.links(page) if link.is_wheel]
            if wheels:
                self.metadata(name, wheels[-1].url_without_fragment, self._session)

    def page(self, asked: Any, location: Any, **named: Any) -> Any:
        """Return a page of the index; None if there is none."""
        if location.url not in self.pages:
            self.pages[location.url] = self._fetch(asked, location, **named)
        return self.pages[location.url]

    def links(self, page: Any) -> list[Any]:
        """Return the files of a page; for a pinned package, only those of its version."""
        if page.url not in self._links:
            version = self._pins.get(canonicalize_name(page.url.rstrip("/").rpartition("/")[2]))
            if version is not None and "json" in page.content_type:
                content = json.loads(page.content)
                content["files"] = [file for file in content["files"] if _has_version(file["filename"], version)]
                page = copy.copy(page)
                object.__setattr__(page, "content", json.dumps(content).encode())
            self._links[page.url] = list(self._parse(page))
        return self._links[page.url]

    def metadata(self, name: str, url: str, session: Any) -> Any:
        """Return the metadata of a release, read from one of its wheels."""
        release = (canonicalize_name(name), url.rpartition("/")[2].split("-")[1])
        if release not in self._metadata:
            self._metadata[release] = dist_from_wheel_url(name, url, session)
        return self._metadata[release]

    def of_requirement(self, requirement: Any) -> Any:
        """Return the metadata of what pip chose for a requirement."""
        return self.metadata(requirement.name, requirement.link.url_without_fragment, self._session)

    def requirements_of(self, name: str) -> list[str]:
        """Return the requirements of a pinned package, without those of its extras."""
        found = self._metadata[name, self._pins[name]].iter_dependencies()
        return [str(one) for one in found if "extra ==" not in str(one.marker)]


def reachable() -> bool:
    """Return True if a configured index answers one request, which is sent once."""
    command = InstallCommand("install", "")
    options, _ = command.parse_args(["--retries", "0"])
    with command.main_context():
        found = command._build_package_finder(options, command.get_default_session(options))._link_collector
        sources = found.collect_sources("pip", candidates_from_page=lambda link: [])
        return any(found.fetch_response(source.link) is not None for source in sources.index_urls)


def _has_version(filename: str, version: str) -> bool:
    return f"-{version}-" in filename or filename.endswith(f"-{version}.tar.gz")


def pins_of(constraints: Path) -> dict[str, str]:
    """Return canonical name → version of every line of the constraints."""
    lines = (line.partition("#")[0].strip() for line in constraints.read_text("utf-8").splitlines())
    pairs = (line.split("==") for line in lines if line)
    return {canonicalize_name(name): version for name, version in pairs}


def environment_of(platform: str, python: str) -> dict[str, str]:
    """Return the marker environment of a target."""
    full = f"{python}.0"  # the oldest patch release has to do
    own = {"python_version": python, "python_full_version": full, "implementation_version": full}
    return {**markers.default_environment(), **PLATFORMS[platform].markers, **own}


def requirements_for(project: dict[str, Any], extras: Iterable[str], environment: dict[str, str]) -> Iterator[str]:
    """Yield the requirements of ``pip install faultline[extras]`` in an environment, by pip's rule for extras."""
    contexts = [{**environment, "extra": extra} for extra in (*extras, *([] if extras else [""]))]
    listed = [project["dependencies"], *(project["optional-dependencies"][extra] for extra in extras)]
    for text in itertools.chain(*listed):
        one = Requirement(text)
        if one.marker is None or any(one.marker.evaluate(context) for context in contexts):
            if one.name == "faultline":
                yield from requirements_for({**project, "dependencies": []}, sorted(one.extras), environment)
            else:
                yield f"{one.name}{'[' + ','.join(one.extras) + ']' if one.extras else ''}{one.specifier}"


def resolve(tags: Iterable[str], python: str, wanted: list[str], constraints: Path) -> tuple[dict[str, str], str]:
    """Return the versions, by name, that pip would install, or pip's message if it finds no solution."""
    arguments = ["install", "--dry-run", "--ignore-installed", "--disable-pip-version-check", "--no-color"]
    arguments += ["--only-binary=:all:", "--use-feature=fast-deps", "--target", "never-written"]
    arguments += ["--python-version", python, "--implementation", "cp", "--constraint", str(constraints)]
    arguments += [f"--abi={abi}" for abi in (f"cp{python.replace('.', '')}", "abi3", "none")]
    arguments += [f"--platform={tag}" for tag in tags]
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        status = pip([*arguments, *wanted])
    lines = said.getvalue().splitlines()
    if status != 0:
        first = next((number for number, line in enumerate(lines) if line.startswith("ERROR")), 0)
        return {}, "\n".join(line for line in lines[first:] if line)
    (found,) = (line for line in lines if line.startswith("Would install "))
    pairs = (one.rpartition("-") for one in found.removeprefix("Would install ").split())
    return {canonicalize_name(name): version for name, _, version in pairs}, ""


def main() -> int:
    """See the module's text."""
    project = tomllib.loads(Path(sys.argv[1]).read_text("utf-8"))["project"]
    constraints, targets = Path(sys.argv[2]), sys.argv[3:]
    if not reachable():
        return UNREACHABLE
    begin = time.monotonic()
    index = Index(pins_of(constraints))
    print(json.dumps({"pages": len(index.pages), "seconds": round(time.monotonic() - begin, 1)}), flush=True)
    # Named arguments are those of later releases of pip.
    collector.LinkCollector.fetch_response = lambda asked, location, **named: index.page(asked, location, **named)  # type: ignore
    package_finder.parse_links = index.links
    prepare.dist_from_wheel_url = index.metadata
    prepare.RequirementPreparer.prepare_linked_requirements_more = lambda *_: None  # type: ignore[method-assign]
    _dists.Requirement = functools.cache(Requirement)  # type: ignore[misc]
    factory.get_supported = functools.cache(factory.get_supported)  # type: ignore[attr-defined]
    InstallRequirement.get_dist = lambda chosen: index.of_requirement(chosen)  # type: ignore[method-assign]
    failed = False
    for target in targets:
        platform, python, listed = target.split(":")
        extras = listed.split(",") if listed else []
        begin = time.monotonic()
        environment = environment_of(platform, python)
        markers.default_environment = lambda found=environment: found  # type: ignore[misc]
        wanted = list(requirements_for(project, extras, environment))
        compiled = [text for text in wanted if (platform, Requirement(text).name) in COMPILED]
        for text in compiled:
            wanted.remove(text)
            wanted += index.requirements_of(Requirement(text).name)
        tags = PLATFORMS[platform].tags + (PLATFORMS[platform].bench_tags if "bench" in extras else ())
        packages, error = resolve(tags, python, wanted, constraints)
        failed = failed or bool(error)
        found = {"target": target, "packages": packages, "compiled": compiled, "error": error}
        print(json.dumps({**found, "seconds": round(time.monotonic() - begin, 1)}), flush=True)
    return UNRESOLVED if failed else RESOLVED


if __name__ == "__main__":
    sys.exit(main())
