"""What the hook costs where Ultralytics starts, and where it does not, as ratios.

    python benchmarks/startup.py [rounds=7] [before=folder]

Every case is an interpreter of its own that has read the hook's `.pth` or has not, with nothing
else of the environment's start-up; what counts is its processor time, the least of `rounds` in
turns, as a busy machine makes a run seem slower, never faster.

1. The line of the `.pth` where nothing else is loaded, and what the hook adds to the import of a
   stand-in for Ultralytics, which takes no time itself: against the start of a bare interpreter.
   The stand-in gets ten times the rounds, as it is a difference of small numbers.
2. `import ultralytics` (with `YOLO`, so that the plugin's blocks are registered) and `yolo help`:
   with the hook against without.
3. `yolo nas-search help` against `yolo help` without the hook.

`before` is a checkout of an earlier version: its `import ultralytics`, `yolo help` and
`yolo nas-search help` are measured in the same turns, and those of this version may take at most a
twentieth more. The last line is a JSON object; `pass` is whether every ratio is within its target.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lib import ROOT, Figures, Table, machine, start, targets

KEYS = {"rounds": 7, "before": ""}
HOOK = Path("yolo_nas_ext", "host", "hook")
SMALL = 10  # times the rounds of the cases that take next to nothing
# Shares of a bare interpreter's start; times the same without the hook; times `yolo help`.
TARGETS = {"hook": 0.1, "stand-in": 0.2, "import": 1.1, "help": 1.05, "nas-search": 1.1}
SLOWER = 1.05
# What the real Ultralytics has loaded by the time it loads its cfg.
LOADED = (
    "import __future__, functools, importlib.machinery, os, threading, traceback, types, typing"
)
STAND_IN = {
    "__init__.py": "",
    "cfg/__init__.py": (
        'ARGV, CLI_HELP_MSG = [], ""\ndef entrypoint(debug: str = "") -> None: ...\n'
    ),
    "nn/__init__.py": "",
    "nn/tasks.py": "def parse_model(): ...\n",
}
CODE = {
    "import": "import ultralytics; ultralytics.YOLO",
    "help": "from ultralytics.cfg import entrypoint; entrypoint('yolo help')",
    "nas-search": "from ultralytics.cfg import entrypoint; entrypoint('yolo nas-search help')",
}
ABOUT = {
    "import": "import ultralytics",
    "help": "yolo help",
    "nas-search": "yolo nas-search help",
}


def main(given: dict[str, Any]) -> Figures:
    """Print the table and return the figures."""
    rounds, site = int(given["rounds"]), Path(sysconfig.get_path("purelib"))
    versions = {"now": ROOT, **({"before": Path(given["before"])} if given["before"] else {})}
    with tempfile.TemporaryDirectory() as folder:
        small = least(_small(Path(folder)), SMALL * rounds)
    cases = {f"{name}, without": program(CODE[name], site) for name in ("import", "help")}
    for version, checkout in versions.items():
        cases |= {f"{name}, {version}": program(CODE[name], site, checkout) for name in CODE}
    large = least(cases, rounds)
    ratios = {
        "hook": small["hook"] / small["interpreter"],
        "stand-in": (small["with"] - small["without"]) / small["interpreter"],
        "import": large["import, now"] / large["import, without"],
        "help": large["help, now"] / large["help, without"],
        "nas-search": large["nas-search, now"] / large["help, without"],
    }
    met = {f"{name}: at most {most}": ratios[name] <= most for name, most in TARGETS.items()}
    if given["before"]:
        for name in CODE:
            ratios[f"{name}, before"] = large[f"{name}, now"] / large[f"{name}, before"]
            met[f"{name}: at most {SLOWER} times before"] = ratios[f"{name}, before"] <= SLOWER
    _show(small, large, ratios)
    seconds = {name: round(value, 5) for name, value in (small | large).items()}
    rounded = {name: round(value, 4) for name, value in ratios.items()}
    return {"ratios": rounded, "cpu_seconds": seconds, **machine(), "pass": targets(met)}


def program(code: str, site: Path, checkout: Path | None = None) -> str:
    """Return a program that runs code and prints the processor time that it has had by then.

    Args:
        code: May set `start` to the time from which it counts; else it is the interpreter's start.
        site: The folder that Ultralytics is in.
        checkout: Whose hook is read; without it none is.
    """
    lines = ["import sys, site", f"sys.path[1:1] = [{str(site)!r}]", "sys.path.remove('')"]
    if checkout:  # whose folder comes last, as after an editable install's `.pth`
        # Before the installed hook, which may look for modules of another version.
        lines += [f"sys.path.insert(0, {str(checkout / HOOK)!r})"]
        lines += [f"site.addsitedir({str(checkout / HOOK)!r})"]
        lines += [f"sys.path.append({str(checkout)!r})"]
    lines += ["from time import process_time as now", "start = 0.0", "try:"]
    lines += [f"    {line}" for line in code.splitlines()]
    return "\n".join([*lines, "except SystemExit: pass", "print(now() - start)"])


def _small(folder: Path) -> dict[str, str]:
    """Return the programs that take next to nothing."""
    for name, text in STAND_IN.items():
        file = folder / "ultralytics" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    line = (ROOT / HOOK / "yolo_nas_ext_hook.pth").read_text(encoding="utf-8").strip()
    load = f"{LOADED}\nstart = now()\nimport ultralytics.cfg, ultralytics.nn.tasks"
    hook = f"start = now()\nsys.path.append({str(ROOT / HOOK)!r}); exec({line!r})"
    return {
        "interpreter": program("pass", folder),
        "hook": program(hook, folder),
        "without": program(load, folder),
        "with": program(load, folder, ROOT),
    }


def least(programs: Mapping[str, str], rounds: int) -> dict[str, float]:
    """Return the least processor time of each program, run in turns."""
    # Byte code is kept, as in an installation; nothing but the programs' own paths is found.
    left_out = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH")
    env = {name: value for name, value in os.environ.items() if name not in left_out}
    found: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(rounds):
        for name, code in programs.items():
            command = [sys.executable, "-S", "-c", code]
            run = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
            found[name].append(float(run.stdout.splitlines()[-1]))
    return {name: min(seconds) for name, seconds in found.items()}


def _show(
    small: Mapping[str, float], large: Mapping[str, float], ratios: Mapping[str, float]
) -> None:
    print(f"a bare interpreter starts in {1e3 * small['interpreter']:.1f} ms\n")
    table = Table(f"{'what':<36}", "ms       ", "against, ms", "ratio ")
    bare = f"{1e3 * small['interpreter']:.2f}"
    table.row("the line of the .pth", f"{1e3 * small['hook']:.2f}", bare, f"{ratios['hook']:.3f}")
    more = small["with"] - small["without"]
    table.row(
        "the hook, a stand-in's import", f"{1e3 * more:.2f}", bare, f"{ratios['stand-in']:.3f}"
    )
    for name, about in ABOUT.items():
        mine = large[f"{name}, now"]
        other = large["help, without" if name == "nas-search" else f"{name}, without"]
        table.row(about, f"{1e3 * mine:.0f}", f"{1e3 * other:.0f}", f"{ratios[name]:.3f}")
        if f"{name}, before" in ratios:
            other, ratio = large[f"{name}, before"], ratios[f"{name}, before"]
            table.row(f"{about}, before", f"{1e3 * mine:.0f}", f"{1e3 * other:.0f}", f"{ratio:.3f}")


if __name__ == "__main__":
    start(main, KEYS)
