"""Run pip-audit on requirements.lock: fail on a known vulnerability, and say so where there is nobody to ask.

``python .ci/audit.py PIP_AUDIT``. An index that is a mirror of PyPI often has the packages alone, without what PyPI
knows about their vulnerabilities. pip-audit then reports that it found none, which would be misleading.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

UNREACHABLE = ("ConnectionError", "Could not connect", "Max retries exceeded", "timed out")
"""What the errors of pip-audit and its HTTP client contain where nobody answers."""

LOCK = Path(__file__).parents[1] / "requirements.lock"


def main(program: str) -> int:
    """Return the exit code: 0 without findings or without an answer, 1 with findings or after a failure."""
    command = [
        program,
        "--disable-pip",
        "--require-hashes",
        "-r",
        str(LOCK),
        "--format",
        "json",
        "--progress-spinner",
        "off",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        dependencies = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        if not any(phrase in done.stderr for phrase in UNREACHABLE):
            print(f"{done.stderr}error: pip-audit failed with exit code {done.returncode}", file=sys.stderr)
            return 1
        print(f"WARNING: the audit is skipped: PyPI does not answer ({last})", file=sys.stderr)
        return 0
    asked = [dependency for dependency in dependencies if "skip_reason" not in dependency]
    if not asked:
        print("WARNING: the audit is skipped: the package index knows no vulnerabilities", file=sys.stderr)
        return 0
    found = [(package, fault) for package in asked for fault in package["vulns"]]
    for package, fault in found:
        fixed = ", ".join(fault["fix_versions"]) or "no version yet"
        print(f"error: {package['name']} {package['version']}: {fault['id']}, fixed in {fixed}", file=sys.stderr)
    print(f"{len(asked)} of {len(dependencies)} packages were examined, {len(found)} vulnerabilities are known")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
