"""Tags and identifiers of PQDIF (IEEE 1159.3) that are needed to read waveforms."""

from __future__ import annotations

from uuid import UUID


def _guid(text: str) -> bytes:
    return UUID(text).bytes_le


def _tag(start: str) -> bytes:
    """Return an identifier of the four oldest families, which differ only in the first half."""
    return _guid(f"{start}-11cf-9d89-0080c72e70a3")


CONTAINER = _tag("89738606-f1c3")
DATA_SOURCE = _tag("89738619-f1c3")
MONITOR_SETTINGS = _tag("b48d858c-f5f5")
OBSERVATION = _tag("8973861a-f1c3")

VERSION_INFO = _tag("89738607-f1c3")
COMPRESSION_STYLE = _tag("8973861b-f1c3")
COMPRESSION_ALGORITHM = _tag("8973861c-f1c3")
TOTAL_FILE, PKZIP = 1, 64

SOURCE_NAME = _tag("b48d8587-f5f5")
SOURCE_LOCATION = _tag("b48d8589-f5f5")
CHANNEL_DEFINITIONS = _tag("b48d858d-f5f5")
ONE_CHANNEL_DEFINITION = _tag("b48d858e-f5f5")
CHANNEL_NAME = _tag("b48d8590-f5f5")
OTHER_CHANNEL_NAME = _tag("b48d8593-f5f5")
GROUP_NAME = _tag("b48d8594-f5f5")
PHASE = _tag("b48d8591-f5f5")
QUANTITY_TYPE = _tag("b48d8592-f5f5")
QUANTITY_MEASURED = _tag("c690e872-f755")
SERIES_DEFINITIONS = _tag("b48d8598-f5f5")
ONE_SERIES_DEFINITION = _tag("b48d859a-f5f5")
VALUE_TYPE = _tag("b48d859c-f5f5")
UNITS = _tag("b48d859b-f5f5")
CHARACTERISTIC = _tag("3d786f9e-f76e")
STORAGE_METHOD = _tag("b48d85a1-f5f5")
RESOLUTION = _guid("fb228ee0-fc8d-11d2-b49a-006008b37183")

NOMINAL_FREQUENCY = _guid("0fa118c3-cb4a-11d2-b30b-fe25cb9a1760")
USE_CALIBRATION = _tag("62f28180-f9c4")
USE_TRANSDUCER = _tag("62f28181-f9c4")
CHANNEL_SETTINGS = _tag("62f28182-f9c4")
ONE_CHANNEL_SETTING = _tag("3d786f9a-f76e")
SYSTEM_SIDE = _tag("62f2818a-f9c4")
MONITOR_SIDE = _tag("62f2818b-f9c4")
CALIBRATION_OFFSET = _tag("62f2818e-f9c4")
CALIBRATION_RATIO = _tag("62f2818f-f9c4")

OBSERVATION_NAME = _tag("3d786f8a-f76e")
TIME_START = _tag("3d786f8c-f76e")
TIME_TRIGGERED = _tag("3d786f8e-f76e")
TRIGGER_METHOD = _tag("3d786f8d-f76e")
TRIGGER_CHANNELS = _tag("3d786f8f-f76e")
DISTURBANCE = _tag("b48d8597-f5f5")
DISTURBANCE_DURATION = _guid("2747d444-2bd0-11d2-ae42-0060083a2628")
CHANNEL_INSTANCES = _tag("3d786f91-f76e")
ONE_CHANNEL_INSTANCE = _tag("3d786f92-f76e")
CHANNEL_INDEX = _tag("b48d858f-f5f5")
SERIES_INSTANCES = _tag("3d786f93-f76e")
ONE_SERIES_INSTANCE = _tag("3d786f94-f76e")
SERIES_SCALE = _tag("3d786f96-f76e")
SERIES_OFFSET = _tag("3d786f97-f76e")
SERIES_VALUES = _tag("3d786f99-f76e")
SHARED_CHANNEL = _tag("8973861f-f1c3")
SHARED_SERIES = _tag("89738620-f1c3")

WAVEFORM = _tag("67f6af80-f753")
"""Quantity type of values on the wave; all other types are logs, phasors, spectra and statistics."""
TIME, VALUE, INSTANTANEOUS = _tag("c690e862-f755"), _tag("67f6af97-f753"), _tag("67f6af9b-f753")
LOWEST, HIGHEST, AVERAGE = _tag("67f6af98-f753"), _tag("67f6af99-f753"), _tag("67f6af9a-f753")
RMS = _guid("a6b31ae5-b451-11d1-ae17-0060083a2628")
SCALED, INCREMENT = 2, 4
"""Bits of the storage method."""
UNIT_CYCLES = 3
UNIT_NAMES = {
    6: "V", 7: "A", 8: "VA", 9: "W", 10: "var", 11: "Ω", 12: "S", 13: "V/A", 14: "J", 15: "Hz", 16: "°C", 17: "°",
    18: "dB", 19: "%", 20: "pu", 21: "samples",
}  # fmt: skip
VOLTAGE, CURRENT = 1, 2
"""Quantities measured."""
PHASE_NAMES = {
    1: "A", 2: "B", 3: "C", 4: "NG", 5: "AB", 6: "BC", 7: "CA", 8: "RES", 9: "NET", 10: "POS", 11: "NEG", 12: "ZERO",
    13: "TOTAL", 14: "LN AVG", 15: "LL AVG", 16: "WORST", 17: "DC+", 18: "DC-", 19: "1", 20: "2", 21: "3",
}  # fmt: skip
TRIGGER_METHODS = {1: "channel", 3: "external signal"}

_DISTURBANCES = _tag("67f6af8f-f753")[4:]
_EVENTS = _guid("dd56ef60-7edd-11d2-b30a-00609789d193")[4:]
DISTURBANCE_NAMES = {
    **{
        (0x67F6AF90 + k).to_bytes(4, "little") + _DISTURBANCES: name
        for k, name in enumerate(
            (
                "transient", "short duration variation", "long duration variation", "voltage fluctuation",
                "waveform distortion", "notching", "noise",
            )
        )
    },
    **{
        (0xDD56EF60 + k).to_bytes(4, "little") + _EVENTS: name
        for k, name in {
            0x0: "impulsive transient", 0x1: "impulsive transient", 0x3: "impulsive transient",
            0x4: "impulsive transient", 0x5: "oscillatory transient", 0x6: "oscillatory transient",
            0x7: "oscillatory transient", 0x8: "oscillatory transient", 0x9: "instantaneous variation",
            0xA: "instantaneous sag", 0xB: "instantaneous swell", 0xC: "momentary variation",
            0xD: "momentary interruption", 0xE: "momentary sag", 0xF: "momentary swell", 0x10: "temporary variation",
            0x11: "temporary interruption", 0x12: "temporary sag", 0x13: "temporary swell",
            0x14: "sustained interruption", 0x15: "undervoltage", 0x16: "overvoltage", 0x17: "imbalance",
            0x18: "DC offset", 0x19: "harmonics", 0x1A: "interharmonics", 0x1E: "power frequency variation",
        }.items()
    },
}  # fmt: skip
"""Categories of disturbances of IEEE 1159."""
