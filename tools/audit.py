"""What `make audit` runs: the locked dependencies against known vulnerabilities, by pip-audit.

It asks its advisory service for each of them. Exit status 1 where one is vulnerable, 2 where one could not be audited,
as without a network: nothing found is no all-clear then.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PROGRAM = ROOT / ".venv" / "audit" / "bin" / "pip-audit"
LOCK = ROOT / "requirements.lock"


def verdict(report: dict[str, Any]) -> tuple[list[str], int]:
    """What to say of pip-audit's JSON, and the exit status."""
    packages = report["dependencies"]
    vulnerable = [package for package in packages if package.get("vulns")]
    skipped = [package for package in packages if "skip_reason" in package]
    lines = [
        f"{package['name']} {package['version']}: {known['id']}, fixed in {', '.join(known['fix_versions']) or 'none'}"
        for package in vulnerable
        for known in package["vulns"]
    ]
    if not packages:
        return ["nothing was audited: the lock file names no package"], 2
    if skipped:
        why = skipped[0]["skip_reason"]
        lines.append(f"{len(skipped)} of {len(packages)} packages could not be audited, the first because: {why}")
    if not lines:
        lines.append(f"no known vulnerability in {len(packages)} packages")
    return lines, 1 if vulnerable else 2 if skipped else 0


def main() -> int:
    command = [str(PROGRAM), "--disable-pip", "--require-hashes", "--format", "json", "--progress-spinner", "off"]
    done = subprocess.run([*command, "--requirement", str(LOCK)], capture_output=True, text=True, check=False)
    try:
        lines, status = verdict(json.loads(done.stdout))
    except (ValueError, KeyError, TypeError):
        said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        lines, status = [f"nothing was audited: {said[-1]}"], 2
    print("\n".join(lines))
    return status


if __name__ == "__main__":
    sys.exit(main())
