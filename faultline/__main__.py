"""Run the command line by ``python -m faultline``."""

from faultline.cli import main

if __name__ == "__main__":
    main()
