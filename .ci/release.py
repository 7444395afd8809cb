"""Builds what is published, checks it, and tests the wheel where nothing else is.

    python .ci/release.py [shared=True]

Into dist/ go the sdist and the wheel that is made of it. Both are checked by twine. Then the wheel
is installed with all that it needs into build/release, and from an empty folder a search runs, by
each way in. With `shared=True` dependencies are those of this environment, which takes a minute.
Nothing is uploaded: `twine upload dist/*` does that.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SEARCH = "trials=2 epochs=1 imgsz=64 batch=8 baseline=none confirm=0 finalists=0 workers=0".split()


def main(arguments: list[str]) -> int:
    """Build, check, install and try."""
    dist, work = ROOT / "dist", ROOT / "build" / "release"
    for folder in (dist, work):
        shutil.rmtree(folder, ignore_errors=True)
    work.mkdir(parents=True)
    wheel, sdist = build(dist, work)
    call(sys.executable, "-m", "twine", "check", "--strict", wheel, sdist)
    try_out(wheel, work, shared="shared=True" in arguments)
    print(f"\nbuilt, checked and tried: {wheel.relative_to(ROOT)}, {sdist.relative_to(ROOT)}")
    return 0


def build(dist: Path, work: Path) -> tuple[Path, Path]:
    """Build the sdist, and the wheel out of it, as an installer without the wheel would."""
    hatch = (sys.executable, "-m", "hatchling", "build", "-d", dist, "-t")
    call(*hatch, "sdist", cwd=ROOT)
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        safe = {"filter": "data"} if sys.version_info >= (3, 12) else {}
        archive.extractall(work / "source", **safe)
    (source,) = (work / "source").iterdir()
    call(*hatch, "wheel", cwd=source)
    (wheel,) = dist.glob("*.whl")
    return wheel, sdist


def try_out(wheel: Path, work: Path, *, shared: bool) -> None:
    """Install the wheel into a new environment, and search."""
    home, empty = work / "venv", work / "empty"
    empty.mkdir()
    venv.create(home, symlinks=True, with_pip=True)
    bin = home / ("Scripts" if os.name == "nt" else "bin")
    python = bin / "python"
    pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    if shared:
        (site,) = home.glob("**/site-packages")
        paths = [path for path in sys.path if Path(path).name == "site-packages"]
        (site / "shared.pth").write_text("\n".join(paths) + "\n", encoding="utf-8")
        call(*pip, "--no-deps", "--force-reinstall", "ultralytics")
        call(*pip, "--no-deps", "--force-reinstall", wheel)
    else:
        call(*pip, wheel)
        call(python, "-m", "pip", "check")
    call(bin / "yolo", "nas-search", "help", cwd=empty, quiet=True)
    call(bin / "yolo-nas-search", *SEARCH, cwd=empty)
    call(python, "-c", "from ultralytics import YOLO; print(YOLO.nas_search)", cwd=empty)
    for file in ("best.yaml", "best.pt", "report.html", "study.db"):
        assert (empty / "runs" / "nas" / "search" / file).is_file(), file


def call(*command: str | Path, cwd: Path | None = None, quiet: bool = False) -> None:
    """Run a command, which has to succeed; of this checkout nothing is on its path."""
    environment = {n: v for n, v in os.environ.items() if n != "PYTHONPATH"}
    out = subprocess.DEVNULL if quiet else None
    subprocess.run(list(map(str, command)), cwd=cwd, env=environment, stdout=out, check=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
