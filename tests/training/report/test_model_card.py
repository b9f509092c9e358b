"""A network of several branches is described as such: its branches, their join, and the parameters of each part."""

from __future__ import annotations

from model.artefact import shipped
from model.spec import load_spec
from tests.training.report.report_samples import report_data, robustness
from training.report.data import Layer, Network
from training.report.figures import _log_ticks
from training.report.model_card import chains, describe_network, is_branched, structure
from training.report.recommendations import architecture_notes
from training.report.render import beside, heat_map, layer_table, span, what_it_reads


def layer(name: str, parameters: int, *connected_to: str) -> Layer:
    shape = "(None, 8)"
    return Layer(
        name=name, type="Dense", named=name, output_shape=shape, parameters=parameters, connected_to=connected_to
    )


FORK = (
    layer("a", 5),
    layer("x", 0),
    layer("b", 7, "a"),
    layer("y", 11, "x"),
    layer("both", 0, "b", "y"),
    layer("z", 13, "both"),
)


def test_layers_in_a_row_are_one_chain_and_need_no_column_of_connections() -> None:
    row = (layer("a", 1), layer("b", 2, "a"), layer("c", 3, "b"))
    assert structure(row) == "a → b → c"
    assert not is_branched(row)


def test_branches_are_described_beside_one_another_and_then_what_joins_them() -> None:
    reading, joining = chains(FORK)
    assert [[part.name for part in chain] for chain in reading] == [["a", "b"], ["x", "y"]]
    assert [[part.name for part in chain] for chain in joining] == [["both", "z"]]
    assert structure(FORK) == "a → b beside x → y; joined: both → z"


def network(layers: tuple[Layer, ...]) -> Network:
    total = sum(part.parameters for part in layers)
    return report_data().network.model_copy(update={"layers": layers, "parameters": total, "trainable": total})


def test_notes_and_table_tell_the_parameters_of_every_branch() -> None:
    notes = "\n".join(architecture_notes(network(FORK), (), 2))
    assert "2 branches read the window. Parameters by branch, then joined: a to b 12, x to y 11, both to z 13." in notes
    assert "Dense 'x' computes 8 features of the window with 0 parameters." in notes
    table = layer_table(network(FORK)).splitlines()
    assert "Connected to" in table[2]
    assert any("both (Dense)" in line and "│ b, y " in line for line in table)
    assert len({len(line) for line in table if line[0] in "┏┃┡│├└"}) == 1
    assert "Connected to" not in layer_table(network((layer("a", 1), layer("b", 2, "a"))))


def test_the_shipped_networks_layers_add_up_and_lead_from_the_window_to_the_classes() -> None:
    network = describe_network(shipped("line"))
    assert sum(part.parameters for part in network.layers) == network.parameters == network.trainable
    names = [part.name for part in network.layers]
    for place, part in enumerate(network.layers):
        assert set(part.connected_to) <= set(names[:place])
    assert network.layers[-1].output_shape == f"(None, None, {len(load_spec('line').classes)})"
    read = {name for part in network.layers for name in part.connected_to}
    assert set(names) - read == {network.layers[-1].name}, "every other layer is read by one"
    notes = architecture_notes(network, (), 2)
    assert notes[0].startswith("A window is one step of the network, whose memory of 96 values goes on")
    assert not any("Cropping2D" in note and "computes" in note for note in notes)


def test_a_row_of_the_heat_map_tells_its_levels_and_every_baseline() -> None:
    (name, cells), *_ = heat_map(robustness())
    assert name == "lost_channel"
    assert span(cells) == "10 … 50 dB"
    assert span([None, cells[1]]) == "20 dB"
    assert beside({"openxda": 0.4, "logistic": 1.0}) == "1.00 .40"


def test_a_narrow_logarithmic_axis_has_ticks_too_and_a_wide_one_not_many() -> None:
    for low, high in ((0.19, 0.45), (0.31, 0.33), (0.01, 4.0), (1e-4, 1e-1)):
        inside = [tick for tick in _log_ticks(low, high) if low / 1.3 < tick < high * 1.3]
        assert 2 <= len(inside) <= 8, (low, high, inside)


def test_a_network_with_a_memory_reads_windows_and_a_memory() -> None:
    plain = network(FORK)
    assert what_it_reads(plain) == f"{plain.steps} steps of {plain.values_per_step}"
    lasting = plain.model_copy(update={"architecture": "gru-memory", "steps": 32, "values_per_step": 6, "hop": 8})
    assert what_it_reads(lasting) == "windows of 32 samples of 6 channels, hop 8, and a memory of 96 values"
    older = lasting.model_copy(update={"hop": None})
    assert what_it_reads(older) == "windows of 32 samples of 6 channels, and a memory of 96 values"
