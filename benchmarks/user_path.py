"""A new user's way, timed: clone, install, search, verdict, export, prediction in ONNX Runtime.

    python benchmarks/user_path.py [guide=docs/guides/first_search.md] [data=folder] [keep=folder]

Clones what is committed here, makes a new environment as the README says, and types the commands of
the guide, one after the other, as they stand there; with `data` the user's folder of `images/` and
`labels/` in place of the embedded data set. `keep` is where clone and environment stay; without it
they are removed. The last line is a JSON object; `pass` is whether every command ended well, the
prediction has drawn pictures, and all of it took ten minutes at most after the install.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from lib import ROOT, Figures, Table, start

KEYS = {"guide": "docs/guides/first_search.md", "data": "", "keep": ""}
MINUTES = 10


def main(given: dict[str, Any]) -> Figures:
    """Clone, install and type; print the times and return the figures."""
    data = Path(given["data"]).resolve() if given["data"] else None
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(given["keep"] or folder).resolve() / "yolo_nas_ext"
        steps = [
            ("clone", f"git clone -q {ROOT} {clone}", clone.parent),
            ("install", "make install", clone),
            *((line, line, clone) for line in commands(given["guide"], data)),
        ]
        clone.parent.mkdir(parents=True, exist_ok=True)
        times: dict[str, float] = {}
        for name, line, where in steps:
            print(f"\n$ {line}", flush=True)
            begin = time.perf_counter()
            shell = ["bash", "-c", line]
            done = subprocess.run(shell, cwd=where, env=environment(clone), check=False)
            times[name] = round(time.perf_counter() - begin, 1)
            if done.returncode:
                print(f"exit code {done.returncode}")
                break
        drawn = len(list((clone / "runs").glob("**/predict*/*.jpg")))
    used = sum(times.values()) - times.get("clone", 0) - times.get("install", 0)
    table = Table("seconds", "command")
    for name, seconds in times.items():
        table.row(f"{seconds:.1f}", name[:90])
    good = len(times) == len(steps) and drawn > 0 and used <= 60 * MINUTES
    return {
        "seconds": round(used, 1),
        "install": times.get("install"),
        "pictures": drawn,
        "pass": good,
    }


def commands(guide: str, data: Path | None) -> list[str]:
    """Return the commands of a guide, a line each."""
    text = (ROOT / guide).read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.S | re.M)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines() if line]
    if data is None:
        return lines
    lines = [line for line in lines if "demo=" not in line]  # the data are drawn already
    lines = [line.replace("data=cells/data.yaml", f"data={data / 'data.yaml'}") for line in lines]
    return [line.replace("source=cells/", f"source={data}/") for line in lines]


def environment(clone: Path) -> dict[str, str]:
    """Return the variables of a user whose environment is active, with a cache of its own."""
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    home = str(clone.parent / "home")
    return {
        **kept,
        "PATH": f"{clone / '.venv' / 'bin'}{os.pathsep}{kept['PATH']}",
        "YOLO_NAS_CACHE": home,
        "YOLO_CONFIG_DIR": home,
    }


if __name__ == "__main__":
    start(main, KEYS)
