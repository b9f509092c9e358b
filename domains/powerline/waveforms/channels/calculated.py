"""Recognise values derived from waveforms, and direct quantities, by signs in the names of channels."""

from __future__ import annotations

import re

_PHASE = r"(?:[ABC]|L?[123])"
_AFTER_PHASE = rf"\b3?[IUV] ?(?:{_PHASE}|AB|BC|CA|[AN0])?[GN]? ?"
"""Quantity and phase, as in IA or Vag, before a word for what was calculated."""

_SIGNS = (
    (
        "direct quantity",
        rf"(?<![A-Z])\d*[IUV]DC(?![A-Z])|\d ?VDC\b|\bDC$|{_AFTER_PHASE}DC\b|直流|ПОСТОЯН|БАТАР|\bАКБ\b",
    ),
    ("calculated: root mean square", rf"\b[IUV]?T?RMS\b|{_AFTER_PHASE}T?RMS$|\bEFF\b|ДЕЙСТВ|ЭФФ|有效值"),
    (
        "calculated: magnitude or angle",
        r"\b(?:MAG|MAGN|MAGNITUDE|ANGLE|PHI|AMPL|AMPLITUDE|COS|SIN)\b|(?<!^)\b(?:ANG|WINKEL)\b|\bУГОЛ\b|АМПЛ|相角|角度|幅值|∠|"
        rf"{_AFTER_PHASE}(?:MAG|ANG|RE|IM|REAL|IMAG)$",
    ),
    ("calculated: frequency", r"\b(?:FREQ|FREQUENCY|FREQUENZ|FRECUENCIA|ROCOF|DFDT)\b|ЧАСТОТ|频率"),
    (
        "calculated: distortion or harmonic",
        r"\b(?:THD|TDD|HARM|HARMONIC|HARMONICS|HARMONISCHE|INTERHARM|HRM)\b|(?!^)\bH(?:[2-9]|[1-4]\d|50)$|ГАРМ|谐波|\d次|"
        rf"\b[IUV]{_PHASE}H(?:[2-9]|[1-4]\d)$|\b(?:[2-9]|[1-4]\d)H\b|\b\d{{1,2}}(?:ND|RD|TH)$|\b\d{{2,4}}HZ$",
    ),
    (
        "calculated: differential or restraint current",
        rf"\bI?DIFF|\bI?DIF\b|\bRESTR|\bI?BIAS\b|\bI ?D ?{_PHASE}\b|\bI ?REST\b|\bI ?STAB|\bДИФ|ТОРМОЗ|差动|差流|制动",
    ),
    (
        "calculated: sequence component",
        r"SEQ\b|\bSEQ|\b3[IUV][12]\b|\b(?:MITSYSTEM|GEGENSYSTEM)\b|正序|负序|(?:ПРЯМ|ОБРАТ)\w* ?ПОСЛ",
    ),
    ("calculated: increment", r"Δ[IUV]|增量|突变|ПРИРАЩ"),
    (
        "calculated: average or extreme",
        r"\b(?:AVG|AVERAGE|MEAN|MAX|MAXIMUM|MIN|MINIMUM|DEMAND|DMD)\b|\bСРЕД\b|СРЕДН\w* ?ЗНАЧ|最大|最小|平均",
    ),
    ("setting", r"\b(?:SETTING|SETPOINT|SETPT|SOLLWERT|CONSIGNE|CONSIGNA|[IUV]REF)\b|УСТАВ|定值|整定"),
)
_SIGNS_WITHOUT_PHASE = (
    ("direct quantity", r"\bDC\b|\bBATT(?:ERY|ERIE|ERIA)?\b|\b(?:24|48|110|125|220|250)V$"),
    (
        "field quantity of a machine",
        r"\bFIELD\b|EXCIT|ERREG|\bROTOR\b|ВОЗБ|РОТОР|励磁|转子|\b[IUVE]FD?\d*\b|\b[IUV]ROT\b|\b[IUV]EXC?\b",
    ),
    ("calculated: power", r"\b(?:POWER|WATT|WATTS|COSPHI|COSFI|COSF|PF)\b|МОЩН|功率"),
    ("calculated: increment", rf"\bD[IUV](?:{_PHASE}|0)\b"),
    (
        "calculated: sequence or axis component",
        r"\b[IUV]?(?:POS|NEG|ZERO|POSITIVE|NEGATIVE|INVERSE|DIRECTE)\b|\b[IUV](?:D|Q|ALPHA|BETA)\b",
    ),
)
"""Signs that may be the name of a place, such as Power Station, where the name says a phase."""

_ALWAYS, _WITHOUT_PHASE = (
    tuple((what, re.compile(sign)) for what, sign in signs) for signs in (_SIGNS, _SIGNS_WITHOUT_PHASE)
)
_INCREMENT = re.compile(r"(?:^|[^A-Za-z])d[IUV](?=[A-Ca-c0-9L_ ]|$)")


def calculated(name: str, *, phase: bool) -> str:
    """Return what was calculated, by the name of a channel; ``""`` if it seems to be a waveform.

    Args:
        name: the name in compatible characters, as it was written.
        phase: True if the name says a phase.

    Example:
        >>> calculated("IA RMS", phase=True), calculated("Power Station IA", phase=True)
        ('calculated: root mean square', '')
    """
    upper = re.sub(r"[_\s\-.:|/()\[\]+]+", " ", name).strip().upper()
    for signs in (_ALWAYS,) if phase else (_ALWAYS, _WITHOUT_PHASE):
        for what, sign in signs:
            if sign.search(upper):
                return what
    return "calculated: increment" if _INCREMENT.search(name) else ""
