"""Draw the live table of a real demonstration as an SVG picture, for the README and the documentation.

    python -m benchmarks.demo_picture docs/assets/demo.svg

The module runs the demonstration like ``faultline demo``, and draws the last table shown while no fault was waiting for
its event. The exit status is that of the demonstration.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import sys
import tempfile
from pathlib import Path

from rich.console import Console, RenderableType
from rich.terminal_theme import MONOKAI

from faultline.demo.run import Demo, DemoOptions
from faultline.demo.view import LiveView

COLUMNS = 78
"""Width of the picture in characters: the table and the counters below it."""
FORMAT = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<title>The live table of faultline demo: fault events, what was injected, and the counters</title>
<style>
.{unique_id}-matrix {{
  font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width;
}}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: system-ui, sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""
"""SVG template; rich's own one loads a font from another host."""


class Still(LiveView):
    """A live view that keeps the last table on which every injected fault has its event."""

    shown: RenderableType | None = None

    def update(self, elapsed_s: float) -> None:
        """Redraw the view, and keep its table if every fault so far has its event."""
        super().update(elapsed_s)
        if elapsed_s < self._total_s and (Still.shown is None or not self._watch.score().missed):
            Still.shown = self._live.get_renderable()


def picture(shown: RenderableType) -> str:
    """Return a table as SVG."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(shown)
    return console.export_svg(title="faultline demo", theme=MONOKAI, code_format=FORMAT, unique_id="demo")


def main() -> int:
    """Run the demonstration and write the picture; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("out", type=Path, help="SVG file to write")
    parser.add_argument("--lines", type=int, default=24, help="number of lines")
    parser.add_argument("--seconds", type=float, default=60.0, help="duration of the replay in seconds")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        size = DemoOptions(lines=options.lines, seconds=options.seconds)
        status = asyncio.run(Demo(size, Path(folder), make_view=Still).run())
    if Still.shown is None:
        return status or 1
    options.out.write_text(picture(Still.shown), encoding="utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main())
