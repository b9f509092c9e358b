"""Let the other hooks describe the code of this checkout, whatever is installed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def on_config(config: Any) -> Any:
    """Put the checkout in front of what is installed."""
    if sys.path[0] != str(ROOT):
        sys.path.insert(0, str(ROOT))
    return config
