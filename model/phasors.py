"""What a protection relay measures of one cycle, as a layer without weights: a network need not learn Fourier.

The classic full-cycle algorithms (A. G. Phadke and J. S. Thorp, "Computer Relaying for Power Systems", 2nd ed., 2009):
Fourier phasors of the fundamental, symmetrical components, the second harmonic that restrains a relay during inrush,
the constant part, and what is left. A phasor averages over the cycle, so noise of single samples hardly touches it.
Everything is independent of the moment within the cycle, and nearly all of the current transformers' rating.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

__all__ = ["FEATURES", "Phasors"]

FEATURES = 41

# Per unit. Quotients stay finite on a dead line.
_LEAST_VOLTAGE, _LEAST_CURRENT, _LEAST_POWER = 1e-3, 1e-2, 1e-12
# A reference for angles that exists in either phase sequence, and in every fault that leaves some voltage.
_NEGATIVE_PART = 0.4
# Artefacts rely on these numbers: others would need a layer of another name.
# Where the compression by asinh begins to be felt. Per unit: sizes of currents, constant and remaining voltage.
_CURRENT, _VOLTAGE = 0.2, 0.1
# In parts: unbalance, the second harmonic and the constant part of currents, what remains of them.
_UNBALANCE, _HARMONIC, _REMAINDER = 0.05, 0.2, 0.1

_THIRD = 2 * np.pi / 3
# Rows: phases; columns: positive, negative, zero sequence.
_ROTATIONS = np.exp(1j * np.array([[0, 0, 0], [_THIRD, -_THIRD, 0], [-_THIRD, _THIRD, 0]])) / 3


class _Complex(NamedTuple):
    """A tensor of phasors as two real ones: compilers differ in what they do for complex numbers."""

    re: Any
    im: Any

    def over(self, divisor: Any) -> _Complex:
        return _Complex(self.re / divisor, self.im / divisor)

    def times(self, other: _Complex) -> _Complex:
        return _Complex(self.re * other.re - self.im * other.im, self.re * other.im + self.im * other.re)

    def part(self, first: int, last: int) -> _Complex:
        """Columns ``first`` to before ``last``."""
        return _Complex(self.re[:, first:last], self.im[:, first:last])

    def components(self) -> _Complex:
        """Positive, negative and zero sequence (n, 3) of three phases (n, 3)."""
        re, im = _tensor(_ROTATIONS.real), _tensor(_ROTATIONS.imag)
        return _Complex(
            ops.matmul(self.re, re) - ops.matmul(self.im, im), ops.matmul(self.re, im) + ops.matmul(self.im, re)
        )

    @property
    def size(self) -> Any:
        return ops.sqrt(ops.square(self.re) + ops.square(self.im) + _LEAST_POWER)


@keras.saving.register_keras_serializable(package="faultline")
class Phasors(layers.Layer):  # type: ignore[misc]
    """Measures float32 (n, samples, 6) of one cycle: ia ib ic va vb vc per unit → float32 (n, FEATURES).

    Currents relative to their common size, and voltages, as phasors (12); the size of each current (3); negative and
    zero sequence of currents and voltages, compressed (8), and the currents' positive sequence (2); of each current the
    second harmonic and the constant part (6), of each voltage the constant part (3); what remains of each channel (6);
    and how unequal the halves of the cycle are, as they are not in a steady state (1).
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(trainable=False, **kwargs)

    def call(self, windows: Any) -> Any:
        constant, fundamental, second = (_harmonic(windows, order) for order in range(3))
        currents, voltages = fundamental.part(0, 3), fundamental.part(3, 6)
        common = ops.sqrt(ops.mean(ops.square(currents.size), axis=1, keepdims=True)) + _LEAST_CURRENT
        currents = currents.over(common)
        current_sequences, voltage_sequences = currents.components(), voltages.components()
        back = _to_reference(voltage_sequences)
        unbalance = (current_sequences.part(1, 3).times(back), voltage_sequences.part(1, 3).times(back))
        remainder = _remainder(windows, constant, fundamental, second)
        measured = [
            *currents.times(back),
            *voltages.times(back),
            ops.arcsinh(fundamental.part(0, 3).size / _CURRENT),
            *(ops.arcsinh(part / _UNBALANCE) for phasors in unbalance for part in phasors),
            *current_sequences.part(0, 1).times(back),
            ops.arcsinh(second.part(0, 3).size / (common * _HARMONIC)),
            ops.arcsinh(constant.re[:, :3] / (common * _HARMONIC)),
            ops.arcsinh(constant.re[:, 3:] / _VOLTAGE),
            ops.arcsinh(remainder[:, :3] / (common * _REMAINDER)),
            ops.arcsinh(remainder[:, 3:] / _VOLTAGE),
            ops.arcsinh(_inequality(windows[:, :, :3]) / (common * _REMAINDER)),
        ]
        return ops.concatenate(measured, axis=1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], FEATURES)

    def get_config(self) -> dict[str, Any]:
        config: dict[str, Any] = super().get_config()
        config.pop("trainable", None)
        return config


def _tensor(values: NDArray[Any]) -> Any:
    return ops.convert_to_tensor(np.asarray(values, np.float32))


def _harmonic(windows: Any, order: int) -> _Complex:
    """Phasors (n, channels), peak values, of a multiple of the fundamental; of order 0 the mean."""
    samples = windows.shape[1]
    turns = 2 * np.pi * order * np.arange(samples) / samples
    gain = (1 if order == 0 else 2) / samples

    def onto(wave: NDArray[np.float64]) -> Any:
        return ops.sum(windows * _tensor(gain * wave)[None, :, None], axis=1)

    return _Complex(onto(np.cos(turns)), onto(-np.sin(turns)))


def _to_reference(voltage_sequences: _Complex) -> _Complex:
    """The rotation (n, 1) that makes angles relative to the voltages'."""
    positive, negative = voltage_sequences.part(0, 1), voltage_sequences.part(1, 2)
    reference = _Complex(*(p + _NEGATIVE_PART * n for p, n in zip(positive, negative, strict=True)))
    return _Complex(reference.re, -reference.im).over(reference.size + _LEAST_VOLTAGE)


def _remainder(windows: Any, constant: _Complex, fundamental: _Complex, second: _Complex) -> Any:
    """RMS (n, channels) of what is neither constant nor fundamental nor second harmonic."""
    explained = ops.square(constant.re) + (ops.square(fundamental.size) + ops.square(second.size)) / 2
    return ops.sqrt(ops.maximum(ops.mean(ops.square(windows), axis=1) - explained, _LEAST_POWER))


def _inequality(currents: Any) -> Any:
    """RMS (n, 1) of how the second half differs from the first with its sign changed, constant parts aside.

    A steady state of odd harmonics repeats with its sign changed after half a cycle.
    """
    half = currents.shape[1] // 2
    change = currents[:, :half] + currents[:, half:]
    change = change - ops.mean(change, axis=1, keepdims=True)
    return ops.sqrt(ops.mean(ops.square(change), axis=(1, 2)) + _LEAST_POWER)[:, None]
