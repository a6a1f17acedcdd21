"""Print the tests of a checkout that failed last, one a line: python .ci/failed.py FOLDER.

The exit code is 1 if there are none (the run itself went wrong), or too many for a busy machine to explain.
"""

import json
import sys
from pathlib import Path

MOST = 5


def main(folder: str) -> int:
    try:
        failed = json.loads((Path(folder) / ".pytest_cache" / "v" / "cache" / "lastfailed").read_text())
    except (OSError, ValueError):
        return 1
    if not 1 <= len(failed) <= MOST:
        return 1
    print("\n".join(sorted(failed)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
