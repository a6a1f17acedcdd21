"""``python -m runner``, and the console script ``runner``."""

import sys


def main() -> None:
    """Run the command line and exit with its code."""
    if sys.platform == "win32":
        sys.stderr.write("error: runner needs Linux or macOS\nhint: on Windows, use WSL 2\n")
        sys.exit(2)
    from runner.cli.main import run  # start-up time: on Windows, this module must run without what that imports

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
