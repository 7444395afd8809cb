"""A new user's way, timed: clone, install, search, verdict, export, prediction in ONNX Runtime.

    python benchmarks/user_path.py [guide=docs/guides/latency_budget.md] [data=folder] [keep=folder]

Clones what is committed here, makes a new environment as the README says, and types the commands of
the guide, one after the other, as they stand there; with `data` the user's folder of `images/` and
`labels/` in place of the embedded data set. `keep` is where clone and environment stay; without it
they are removed. The last line is a JSON object; `pass` is whether every command ended well, the
prediction has drawn pictures, and all of it took ten minutes at most after the install.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from yolo_nas_ext.config.arguments import parse_arguments

ROOT = Path(__file__).resolve().parent.parent
MINUTES = 10


def main(arguments: list[str]) -> int:
    """Clone, install and type; print the times and figures, and return the exit code."""
    given = {"guide": "docs/guides/latency_budget.md", "data": "", "keep": "",
             **parse_arguments(arguments)}  # fmt: skip
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
            code = subprocess.run(["bash", "-c", line], cwd=where, env=environment(clone),
                                  check=False).returncode  # fmt: skip
            times[name] = round(time.perf_counter() - begin, 1)
            if code:
                print(f"exit code {code}")
                break
        drawn = len(list((clone / "runs").glob("**/predict*/*.jpg")))
    used = sum(times.values()) - times.get("clone", 0) - times.get("install", 0)
    for name, seconds in times.items():
        print(f"{seconds:8.1f} s  {name[:90]}")
    good = len(times) == len(steps) and drawn > 0 and used <= 60 * MINUTES
    print(json.dumps({"seconds": round(used, 1), "install": times.get("install"),
                      "pictures": drawn, "pass": good}))  # fmt: skip
    return 0 if good else 1


def commands(guide: str, data: Path | None) -> list[str]:
    """Return the commands of a guide, a line each."""
    text = (ROOT / guide).read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.S | re.M)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines() if line]
    if data is None:
        return lines
    lines = [line.replace("data=cells", f"data={data}") for line in lines]
    return [re.sub(r"source=\$\(python -c .*\)\S*", f"source={data / 'images' / 'val'}", line)
            for line in lines]  # fmt: skip


def environment(clone: Path) -> dict[str, str]:
    """Return the variables of a user whose environment is active, with a cache of its own."""
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    home = str(clone.parent / "home")
    return {**kept, "PATH": f"{clone / '.venv' / 'bin'}{os.pathsep}{kept['PATH']}",
            "YOLO_NAS_CACHE": home, "YOLO_CONFIG_DIR": home, "YOLO_OFFLINE": "1",
            "YOLO_AUTOINSTALL": "false"}  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
