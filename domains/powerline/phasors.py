"""Measure the quantities that a protection relay measures in one cycle, in a layer without weights.

With these inputs a network need not learn the Fourier transform. The layer applies the classic full-cycle algorithms
(A. G. Phadke and J. S. Thorp, "Computer Relaying for Power Systems", 2nd ed., 2009): Fourier phasors of the
fundamental, symmetrical components, the second harmonic that restrains a relay during inrush, the DC component, and the
remainder. A phasor averages over the cycle, so noise of single samples hardly affects it. All features are independent
of the window's position within the cycle, and nearly all are independent of the CT rating.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from model.asinh import asinh

__all__ = [
    "FEATURES",
    "KNEES",
    "LEAST_CURRENT",
    "LEAST_POWER",
    "LEAST_VOLTAGE",
    "NEGATIVE_PART",
    "RELATIVE",
    "SELECTION",
    "Phasors",
    "waves",
]

FEATURES = 51

# Smallest denominators, per unit; they keep quotients finite on a de-energised line.
LEAST_VOLTAGE, LEAST_CURRENT, LEAST_POWER = 1e-3, 1e-2, 1e-12
# Weight of the negative sequence in the angle reference. The reference thus exists for either phase sequence, and for
# every fault that leaves some voltage.
NEGATIVE_PART = 0.4
# Artefacts rely on the following numbers: other numbers would need a layer with another name.
# Knees of the compression by asinh, per unit: magnitudes of currents; DC component and remainder of voltages.
_CURRENT, _VOLTAGE = 0.2, 0.1
# Knees as shares: unbalance; second harmonic and DC component of currents; remainder of currents.
_UNBALANCE, _HARMONIC, _REMAINDER = 0.05, 0.2, 0.1

_THIRD = 2 * np.pi / 3
# Matrix from phases (rows) to positive, negative and zero sequence (columns).
_ROTATIONS = np.exp(1j * np.array([[0, 0, 0], [_THIRD, -_THIRD, 0], [-_THIRD, _THIRD, 0]])) / 3

# Number of columns of ``_basic``.
_BASIC = 5
# Columns of the phasors of a window, one per phase or per sequence component.
_PHASORS = 18
_CURRENTS, _CURRENT_SEQUENCES, _VOLTAGES, _VOLTAGE_SEQUENCES = range(3), range(3, 6), range(6, 9), range(9, 12)
_SECOND = range(12, 18)  # second harmonics of currents, then of voltages
_UNBALANCED = slice(1, 3)  # negative and zero sequence
# Part of the currents in the angle reference. It turns the angles of a healthy line by less than 6 degrees, and it is
# the reference of a line whose voltages are not measured.
CURRENT_PART = 0.1

# First column of each kind of measured value, in the order that is cheapest to compute.
_REAL, _IMAGINARY, _SIZE, _CONSTANT, _REMAINING, _UNEQUAL = 0, 18, 36, 54, 60, 66
_MEASURED = 67


class _Feature(NamedTuple):
    """Consecutive features: their columns among the measured values, and the knee of their compression, if any."""

    columns: list[int]
    knee: float = np.inf
    relative: bool = False
    """True if the features are divided by the common magnitude of the currents."""


def _both(columns: range) -> list[int]:
    return [start + column for start in (_REAL, _IMAGINARY) for column in columns]


def _from(start: int, columns: range) -> list[int]:
    return [start + column for column in columns]


# Features in the order on which artefacts rely.
_ORDER = (
    _Feature(_both(_CURRENTS), relative=True),
    _Feature(_both(_VOLTAGES)),
    _Feature(_from(_SIZE, _CURRENTS), _CURRENT),
    _Feature(_both(_CURRENT_SEQUENCES[_UNBALANCED]), _UNBALANCE, relative=True),
    _Feature(_both(_VOLTAGE_SEQUENCES[_UNBALANCED]), _UNBALANCE),
    _Feature(_both(_CURRENT_SEQUENCES[:1]), relative=True),
    _Feature(_from(_SIZE, _SECOND[:3]), _HARMONIC, relative=True),
    _Feature(_from(_CONSTANT, range(3)), _HARMONIC, relative=True),
    _Feature(_from(_CONSTANT, range(3, 6)), _VOLTAGE),
    _Feature(_from(_REMAINING, range(3)), _REMAINDER, relative=True),
    _Feature(_from(_REMAINING, range(3, 6)), _VOLTAGE),
    _Feature([_UNEQUAL], _REMAINDER, relative=True),
    _Feature(_from(_SIZE, _VOLTAGES)),
    _Feature(_from(_SIZE, _CURRENT_SEQUENCES), _CURRENT),
    _Feature(_from(_SIZE, _VOLTAGE_SEQUENCES[_UNBALANCED]), _UNBALANCE),
    _Feature(_from(_SIZE, _CURRENT_SEQUENCES[_UNBALANCED]), _UNBALANCE, relative=True),
)
KNEES = np.repeat([feature.knee for feature in _ORDER], [len(feature.columns) for feature in _ORDER])
RELATIVE = np.isin(np.arange(_MEASURED), np.concatenate([f.columns for f in _ORDER if f.relative]))
# Matrix that selects the features from the measured values, in their order, and divides them by their knees.
SELECTION = (np.arange(_MEASURED)[:, None] == np.concatenate([feature.columns for feature in _ORDER])) / np.where(
    np.isinf(KNEES), 1, KNEES
)


@keras.saving.register_keras_serializable(package="faultline")
class Phasors(layers.Layer):  # type: ignore[misc]
    """Layer that maps one cycle float32 (…, samples, 6), ia ib ic va vb vc per unit, to float32 (…, FEATURES).

    The features are

    - the phasors of currents, relative to their common magnitude, and of voltages (12),
    - the magnitude of each current (3),
    - negative and zero sequence of currents and voltages, compressed (8), and positive sequence of the currents (2),
    - second harmonic and DC component of each current (6), DC component of each voltage (3),
    - the remainder of each channel (6),
    - the inequality of the cycle's two halves, which vanishes in a steady state (1),
    - magnitudes, which no reference turns: of the voltages (3), of the sequences of the currents (3), of the negative
      and zero sequence of the voltages (2) and, relative to their common magnitude, of the currents (2).
    """

    def __init__(self, **kwargs: Any) -> None:
        """Create the layer; it has nothing to train."""
        super().__init__(trainable=False, **kwargs)

    def call(self, windows: Any) -> Any:
        """Return the features of windows."""
        before = ops.shape(windows)[:-2]
        features = self._of_rows(ops.reshape(windows, (-1, *windows.shape[-2:])))
        return ops.reshape(features, (*before, FEATURES))

    def _of_rows(self, windows: Any) -> Any:
        # Work on whole rows: the compiler makes one more function for each small formula and each shape.
        samples = windows.shape[1]
        spectrum = ops.tensordot(windows, _tensor(_harmonics(samples)), axes=[[1], [0]])  # (n, channels, samples)
        # The second product copies the phases unchanged, and computes the sequences from rounded phasors.
        linear = ops.matmul(ops.reshape(spectrum[:, :, :_BASIC], (-1, len(ROWS))), _tensor(ROWS))
        re, im, constant = (linear[:, start:stop] for start, stop in ((0, 18), (18, 36), (36, 42)))
        power = ops.square(re) + ops.square(im) + LEAST_POWER
        common = ops.sqrt(ops.mean(power[:, : _CURRENTS.stop], axis=1, keepdims=True)) + LEAST_CURRENT
        along, across = _to_reference(re, im, common)
        measured = [
            re * along - im * across,
            re * across + im * along,
            ops.sqrt(power),
            constant,
            _deviations(spectrum),
        ]
        relative = ops.where(ops.convert_to_tensor(RELATIVE), 1 / common, 1.0)
        selected = ops.matmul(ops.concatenate(measured, axis=1) * relative, _tensor(SELECTION))
        return ops.where(ops.convert_to_tensor(np.isinf(KNEES)), selected, asinh(selected))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of the features for a shape of windows."""
        return (*input_shape[:-2], FEATURES)

    def get_config(self) -> dict[str, Any]:
        """Return the configuration that Keras stores; ``trainable`` is fixed and left out."""
        config: dict[str, Any] = super().get_config()
        config.pop("trainable", None)
        return config


def _tensor(values: NDArray[Any]) -> Any:
    return ops.convert_to_tensor(np.asarray(values, np.float32))


def _basic(samples: int) -> NDArray[np.float64]:
    """Return each channel's weights (samples, 5): mean, and real and imaginary parts of the first two harmonics."""
    turns = 2 / samples * np.exp(-2j * np.pi * np.outer(np.arange(samples), [1, 2]) / samples)
    mean = np.full((samples, 1), 1 / samples)
    return np.concatenate([mean, turns.real, turns.imag], axis=1)


def _harmonics(samples: int) -> NDArray[np.float64]:
    """Return the weights (samples, samples) of a channel's spectrum: first those of ``_basic``, then the remainder's.

    The remainder has the real and imaginary part of every harmonic from the third on, ascending.
    """
    half = samples // 2
    turns = 2 / samples * np.exp(-2j * np.pi * np.outer(np.arange(samples), np.arange(3, half + 1)) / samples)
    parts = np.stack([turns.real, turns.imag], axis=2).reshape(samples, -1)
    parts[:, -2] /= 2  # at half the sampling rate there is a real part alone
    return np.concatenate([_basic(samples), parts[:, :-1]], axis=1)


def _rows() -> NDArray[np.float64]:
    """Return the map from the basic products of all channels (6 * 5) to 18 real parts, 18 imaginary parts, 6 means."""
    mean, first, second, first_im, second_im = (np.kron(np.eye(6), np.eye(_BASIC)[:, [k]]) for k in range(_BASIC))
    fundamental, double = first + 1j * first_im, second + 1j * second_im
    currents, voltages = fundamental[:, :3], fundamental[:, 3:]
    phasors = np.concatenate([currents, currents @ _ROTATIONS, voltages, voltages @ _ROTATIONS, double], axis=1)
    return np.concatenate([phasors.real, phasors.imag, mean], axis=1)


ROWS = _rows()


def waves(samples: int) -> NDArray[np.float64]:
    """Return the linear part as one matrix for flattened windows, (samples * 6, 42)."""
    return np.asarray(np.einsum("sk,cd->scdk", _basic(samples), np.eye(6)).reshape(samples * 6, -1) @ ROWS)


def _mean_squares(samples: int) -> NDArray[np.float64]:
    """Return the map (6 * samples, 7) from the squares of all channels' spectra to what ``_deviations`` returns."""
    order = np.array([0, 1, 2, 1, 2, *np.repeat(np.arange(3, samples // 2 + 1), 2)[:-1]])  # of every column's harmonic
    share = np.where(order == samples // 2, 1.0, 0.5)  # mean square of a wave of amplitude 1
    remainder = np.kron(np.eye(6), (share * (order > 2))[:, None])
    # The two half cycles cancel the odd harmonics and double the even ones.
    inequality = np.kron(np.array([1, 1, 1, 0, 0, 0]) / 3, 4 * share * ((order > 0) & (order % 2 == 0)))
    return np.concatenate([remainder, inequality[:, None]], axis=1)


def _deviations(spectrum: Any) -> Any:
    """Return the remainder of each channel and the inequality of the half cycles, (n, 7).

    The remainder is the RMS of the part that is neither DC, fundamental nor second harmonic. The inequality is the RMS
    of the sum of the currents' two half cycles, without their DC components. In a steady state of odd harmonics the
    second half cycle is the first one with its sign changed, so the sum is zero.

    Both are sums over harmonics. The difference of mean squares would be a small difference of large numbers, which
    depends on the order of the additions and hence on the size of the batch.
    """
    channels, samples = spectrum.shape[1:]
    squares = ops.reshape(ops.square(spectrum), (-1, channels * samples))
    means = ops.matmul(squares, _tensor(_mean_squares(samples)))
    return ops.sqrt(ops.maximum(means + _tensor(np.repeat([0, LEAST_POWER], [6, 1])), LEAST_POWER))


def _to_reference(re: Any, im: Any, common: Any) -> tuple[Any, Any]:
    """Return the rotation, as two arrays (n, 1), that makes angles relative to that of the voltages.

    ``common`` (n, 1) is the common magnitude of the currents.
    """
    along, across = (
        _reference(part, _VOLTAGE_SEQUENCES) + CURRENT_PART * _reference(part, _CURRENT_SEQUENCES) / common
        for part in (re, im)
    )
    size = ops.sqrt(ops.square(along) + ops.square(across) + LEAST_POWER) + LEAST_VOLTAGE
    return along / size, -across / size


def _reference(part: Any, sequences: range) -> Any:
    positive, negative = sequences[0], sequences[1]
    return part[:, positive : positive + 1] + NEGATIVE_PART * part[:, negative : negative + 1]
