"""Check the health of a container for Docker, since the image has no curl; Kubernetes requests /readyz itself.

    python3 health.py           requests the worker's /readyz, on FAULTLINE_WEB_PORT or 8066
    python3 health.py trainer   requests the trainer's, on FAULTLINE_TRAINER_WEB_PORT or 8067

It prints the answer of /readyz, so that `docker inspect` shows why a container is unhealthy.
"""

import os
import sys
import urllib.error
import urllib.request

PORTS = {"worker": ("FAULTLINE_WEB_PORT", "8066"), "trainer": ("FAULTLINE_TRAINER_WEB_PORT", "8067")}


def main() -> int:
    """Print the answer of /readyz; return the exit status, 0 if ready."""
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
