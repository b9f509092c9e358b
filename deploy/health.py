"""Health check of a container, for Docker: its image has no curl, and Kubernetes asks /readyz itself.

    python3 health.py           the worker's /readyz, on FAULTLINE_WEB_PORT or 8066
    python3 health.py trainer   the trainer's, on FAULTLINE_TRAINER_WEB_PORT or 8067

Prints what /readyz says, so that `docker inspect` tells why a container is not healthy.
"""

import os
import sys
import urllib.error
import urllib.request

PORTS = {"worker": ("FAULTLINE_WEB_PORT", "8066"), "trainer": ("FAULTLINE_TRAINER_WEB_PORT", "8067")}


def main() -> int:
    """Exit status: 0 when ready."""
    variable, usual = PORTS[sys.argv[1] if len(sys.argv) > 1 else "worker"]
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{os.environ.get(variable, usual)}/readyz", timeout=4) as answer:
            print(answer.read().decode())
    except urllib.error.HTTPError as error:
        print(error.read().decode())
        return 1
    except OSError as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
