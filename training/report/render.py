"""Render ``report.json`` as ``report.md`` and ``report.html``. Rendering adds no figures to the document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from model.errors import SpecError
from model.memory import memory_units
from model.spec import load_spec
from training.evaluation.conditions.results import ConditionCell, RobustnessResult
from training.gate.gate import CELL
from training.report import figures
from training.report.data import Network, ReportData
from training.report.groups import condition_groups, group_sentence
from training.report.model_card import is_branched

JSON_NAME, MARKDOWN_NAME, HTML_NAME = "report.json", "report.md", "report.html"
FIGURE_FOLDER = "figures"
LEVELS = (1, 2, 3, 4, 5)
# Column widths of the layer table, as in Keras' summary; the fourth column is for networks with branches only.
_COLUMNS = (38, 29, 17, 28)


def write(data: ReportData, folder: Path) -> tuple[Path, ...]:
    """Write ``report.json``, read it back, and write the other files from it.

    Returns:
        The paths of report.json, report.md and report.html.
    """
    folder.mkdir(parents=True, exist_ok=True)
    document = folder / JSON_NAME
    document.write_text(data.model_dump_json(indent=1) + "\n", encoding="utf-8")
    kept = ReportData.model_validate_json(document.read_text(encoding="utf-8"))
    plots = draw(data)  # the document does not hold the quantities of the channels
    page = folder / HTML_NAME
    page.write_text(html(kept, plots), encoding="utf-8")
    return document, _write_markdown(kept, plots, folder), page


def write_compact(data: ReportData, folder: Path) -> Path:
    """Write ``report.md`` and its figures only. The same data give the same bytes.

    Returns:
        The path of report.md.
    """
    return _write_markdown(data, draw(data), folder)


def _write_markdown(data: ReportData, plots: Mapping[str, str], folder: Path) -> Path:
    (folder / FIGURE_FOLDER).mkdir(parents=True, exist_ok=True)
    for stale in (folder / FIGURE_FOLDER).glob("*.svg"):
        stale.unlink()
    for name, svg in plots.items():
        # A separate file cannot use the page's text colour, so it gets a grey that is legible on white and on black.
        text = svg.replace("currentColor", "#808080")
        (folder / FIGURE_FOLDER / f"{name}.svg").write_text(text + "\n", encoding="utf-8")
    document = folder / MARKDOWN_NAME
    document.write_text(markdown(data, plots), encoding="utf-8")
    return document


def draw(data: ReportData) -> dict[str, str]:
    """Return every plot as SVG text by its name."""
    plots = {"calibration": figures.reliability(data.calibration), "latency": figures.latency(data.latency)}
    if data.training.history is not None:
        plots["learning"] = figures.learning_curves(data.training.history)
    for number, failure in enumerate(data.failures, start=1):
        quantities = failure.quantities or _quantities(data.identity.spec, failure.channels)
        plots[f"failure-{number}"] = figures.waveform(failure.model_copy(update={"quantities": quantities}))
    return plots


def _quantities(spec_name: str, channels: Sequence[str]) -> Mapping[str, tuple[int, ...]]:
    """Return the channels by quantity, from the shipped spec of that name; none if it is not one of these channels."""
    try:
        spec = load_spec(spec_name)
    except SpecError:
        return {}
    return spec.groups if spec.channels == tuple(channels) else {}


def markdown(data: ReportData, plots: Mapping[str, str]) -> str:
    """Return the report as Markdown, with links to the figures named in ``plots``."""
    return _render("report.md.j2", data, plots, autoescape=False)


def html(data: ReportData, plots: Mapping[str, str]) -> str:
    """Return the report as one self-contained page."""
    return _render("report.html.j2", data, plots, autoescape=True)


def _render(template: str, data: ReportData, plots: Mapping[str, str], *, autoescape: bool) -> str:
    environment = Environment(
        loader=PackageLoader("training.report"),
        autoescape=autoescape,  # noqa: S701 (Markdown is not HTML, and the text is Faultline's)
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        tint=tint, tint_wrong=tint_wrong, brief=brief, words=words, span=span, beside=beside, delay=delay
    )
    cell_names = {f"{CELL}{name}" for name in data.gate_scores.cells}
    groups = condition_groups(data.conditions, data.zero_shot)
    return environment.get_template(template).render(
        d=data,
        plots={name: Markup(svg) for name, svg in plots.items()},  # noqa: S704 (drawn by ``figures``)
        reads=what_it_reads(data.network),
        layer_table=layer_table(data.network),
        branched=is_branched(data.network.layers),
        cell_names=cell_names,
        cells_met=[c for c in data.verdict.criteria if c.passed and c.name in cell_names],
        heat=heat_map(data.conditions),
        groups=groups,
        group_sentence=group_sentence(groups),
        baselines=[] if data.conditions is None else sorted(data.conditions.worst.baselines),
        levels=LEVELS,
    )


def tint(score: float, low: float = 0.5) -> str:
    """Return the CSS colour of a score: green at 1, red at ``low`` and below; black text is legible on all."""
    place = max(0.0, min(1.0, (score - low) / (1 - low)))
    return f"hsl({round(120 * place**2)} 60% 78%)"


def tint_wrong(part: float) -> str:
    """Return the CSS colour of a share of wrong windows: yellow near 0, red from a fifth on."""
    return f"hsl({round(50 * (1 - min(1.0, 5 * part)))} 75% 80%)"


def brief(value: object) -> str:
    """Return a number with four significant digits, or another value as words."""
    return f"{value:.4g}" if isinstance(value, float) else words(str(value))


def words(name: str) -> str:
    """Return an identifier as words."""
    return name.replace("_", " ")


def delay(value_and_unit: tuple[float, str], digits: int = 3) -> str:
    """Return a delay with its unit."""
    value, unit = value_and_unit
    return f"{value:.{digits}f} {unit}"


def beside(baselines: Mapping[str, float]) -> str:
    """Return the baselines' scores in the order of their names, two digits each, to show under the model's."""
    return " ".join(f"{score:.2f}".lstrip("0") for _, score in sorted(baselines.items()))


def span(cells: Sequence[ConditionCell | None]) -> str:
    """Return the values of a condition's mildest and most severe level."""
    measured = [cell for cell in cells if cell is not None]
    ends = [measured[0], measured[-1]] if len(measured) > 1 else measured
    return f"{' … '.join(brief(cell.value) for cell in ends)} {ends[-1].unit}".strip()


def heat_map(conditions: RobustnessResult | None) -> list[tuple[str, list[ConditionCell | None]]]:
    """Return every condition with the cells of its five levels, the worst condition first."""
    if conditions is None:
        return []
    rows: dict[str, dict[int, ConditionCell]] = {}
    for cell in conditions.cells:
        rows.setdefault(cell.condition, {})[cell.level] = cell
    ordered = sorted(rows.items(), key=lambda item: min(cell.merged_macro_f1 for cell in item[1].values()))
    return [(name, [cells.get(level) for level in LEVELS]) for name, cells in ordered]


def what_it_reads(network: Network) -> str:
    """Return the input of the network: the steps of a window, or windows and the memory of their line."""
    units = memory_units(network.architecture)
    if not units:
        return f"{network.steps} steps of {network.values_per_step}"
    hop = "" if network.hop is None else f", hop {network.hop}"
    samples = f"{network.steps} samples of {network.values_per_step} channels"
    return f"windows of {samples}{hop}, and a memory of {units} values"


def layer_table(network: Network) -> str:
    """Return the layers as a table in the form of Keras' summary."""
    branched = is_branched(network.layers)
    rows = [("Layer (type)", "Output Shape", "Param #", "Connected to")]
    for layer in network.layers:
        sources = ", ".join(layer.connected_to) or "windows"
        rows.append((f"{layer.name} ({layer.type})", layer.output_shape, f"{layer.parameters:,}", sources))
    widths = _COLUMNS if branched else _COLUMNS[:3]
    frozen = network.parameters - network.trainable
    lines = [
        f'Model: "{network.architecture}"',
        _rule(widths, "┏━", "━┳━", "━┓", "━"),
        "┃ " + " ┃ ".join(_cells(widths, rows[0])) + " ┃",
        _rule(widths, "┡━", "━╇━", "━┩", "━"),
    ]
    for number, row in enumerate(rows[1:], start=1):
        lines.append("│ " + " │ ".join(_cells(widths, row)) + " │")
        last = number == len(rows) - 1
        lines.append(_rule(widths, "└─", "─┴─", "─┘", "─") if last else _rule(widths, "├─", "─┼─", "─┤", "─"))
    return "\n".join(
        [
            *lines,
            f" Total params: {network.parameters:,} ({_size(network.memory_bytes)})",
            f" Trainable params: {network.trainable:,} ({_size(4 * network.trainable)})",
            f" Non-trainable params: {frozen:,} ({_size(4 * frozen)})",
        ]
    )


def _size(count: int) -> str:
    return f"{count:.2f} B" if count < 1024 else f"{count / 1024:.2f} KB"


def _rule(widths: Sequence[int], left: str, between: str, right: str, line: str) -> str:
    return left + between.join(line * (width - 2) for width in widths) + right


def _cells(widths: Sequence[int], row: Sequence[str]) -> list[str]:
    """Return a row's texts padded to their columns; the third column, of numbers, is aligned to the right."""
    room = [width - 2 for width in widths]
    texts = [text[:wide] for text, wide in zip(row, room, strict=False)]
    return [
        text.rjust(wide) if place == 2 else text.ljust(wide)
        for place, (text, wide) in enumerate(zip(texts, room, strict=True))
    ]
