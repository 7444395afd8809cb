"""Tests the package on another version of Ultralytics, in an environment of its own.

    python .ci/test_host.py 8.4.191 [tests/host ...]

The environment is build/host-<version>. It has that version and this checkout, and shares all else
with the environment that this runs in. What broke is said at the end, a line a test file; the exit
code is 1 then.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
# What leans on Ultralytics: its folder, definitions in and out, the commands, one whole job.
TESTS = (
    "tests/host",
    "tests/network",
    "tests/estimators/test_training.py",
    "tests/scenarios/test_native.py",
    "tests/scenarios/test_from_weights.py",
    "tests/pipeline/test_job.py",
    "tests/python",
)
VERSION = re.compile(r"\d+(\.\d+)*([a-z]+\d+)?")


def main(arguments: list[str]) -> int:
    """Install, test, and say what broke."""
    if not arguments or not VERSION.fullmatch(arguments[0]):
        print(f"VERSION={''.join(arguments[:1])}: give a version of Ultralytics, as 8.4.191")
        return 2
    version, *tests = arguments
    python = environment(version)
    if python is None:
        print(f"ultralytics=={version} cannot be installed; see above for why")
        return 2
    found = ROOT / "build" / f"host-{version}.xml"
    found.unlink(missing_ok=True)
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={found}"]
    # A version that warns of more is no broken one.
    command += ["-W", "default", "-n", "auto", *(tests or TESTS)]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    if not found.is_file():
        print(f"Ultralytics {version}: no test could be run; see above for why")
        return 1
    total, broke = read(found)
    print(f"\nUltralytics {version}: {total - sum(map(len, broke.values()))} of {total} tests pass")
    for file, reasons in broke.items():
        print(f"  {file}: {len(reasons)} broke, the first by {reasons[0]}")
    return int(bool(broke) or not total)


def environment(version: str) -> Path | None:
    """Make the environment and return its interpreter; None where the version is not to be had."""
    folder = ROOT / "build" / f"host-{version}"
    if not (folder / "pyvenv.cfg").is_file():
        venv.create(folder, symlinks=True, with_pip=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    # Its own packages come first on the path, and these after them.
    paths = [path for path in sys.path if Path(path).name == "site-packages"]
    (Path(site) / "shared.pth").write_text("\n".join(paths) + "\n", encoding="utf-8")
    pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    installs = (
        [f"ultralytics=={version}"],
        ["--no-deps", "--no-build-isolation", "-e", str(ROOT)],
    )
    for what in installs:
        if subprocess.run([*pip, *what]).returncode:
            return None
    return python


def read(file: Path) -> tuple[int, dict[str, list[str]]]:
    """Return how many tests ran, and by test file why some broke."""
    broke: dict[str, list[str]] = {}
    cases = [c for c in ElementTree.parse(file).iter("testcase") if c.find("skipped") is None]
    for case in cases:
        wrong = case.find("failure")
        wrong = case.find("error") if wrong is None else wrong
        if wrong is not None:
            reason = " ".join((wrong.get("message") or "").split())[:160]
            name = f"{case.get('classname')}".replace(".", "/") + ".py"
            broke.setdefault(name, []).append(f"{case.get('name')}: {reason}")
    return len(cases), broke


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
