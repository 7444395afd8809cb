"""The page in a real browser: its script runs, nothing hostile does, and nothing is asked for."""

import json
import re
import shutil
import subprocess

import pytest

from tests.helpers import fakes
from yolo_nas_ext import report
from yolo_nas_ext.report.summary import label
from yolo_nas_ext.study.leaderboard import Evaluation, Leaderboard, Model

NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), "")
OWN = "not an origin"
QUIET = [
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--disable-sync",
    "--disable-default-apps",
    "--disable-extensions",
]


def visit(page, folder):
    """Return the page's DOM after its script, what the console said, and what was asked for."""
    log = folder / "net.json"
    done = subprocess.run(
        [
            BROWSER,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            *QUIET,
            "--enable-logging=stderr",
            "--virtual-time-budget=2000",
            f"--log-net-log={log}",
            f"--user-data-dir={folder / 'user'}",
            "--dump-dom",
            f"file://{page}",
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    text = log.read_text().rstrip().rstrip(",")
    events = json.loads(text if text.endswith("}") else text + "]}")["events"]
    found = [e.get("params", {}) for e in events]
    # What the browser asks for by itself has no origin.
    asked = [p for p in found if "url" in p and p.get("initiator", OWN) != OWN]
    return done.stdout, console, {p["url"] for p in asked if p["url"].startswith("http")}


@pytest.mark.skipif(not BROWSER, reason="no Chromium here")
def test_the_page_in_a_browser(tmp_path):
    study, bad = fakes.detectors(24), fakes.HOSTILE
    best = label(study.best)
    models = [
        Model(best, params=1e6, flops=1e9, latency_ms=2.0),
        Model(bad, baseline=True, params=2e6, flops=2e9, latency_ms=4.0),
    ]
    evaluations = [
        Evaluation(m.name, seed, 0.4 - 0.1 * m.baseline) for m in models for seed in (0, 1)
    ]
    report.write(
        study,
        tmp_path / "run",
        title=bad,
        settings={bad: bad},
        notes=[f"skipped {bad}.png"],
        command=bad,
        finals=Leaderboard(models, evaluations),
        beside=fakes.baselines(),
    )
    dom, console, asked = visit(tmp_path / "run" / "report.html", tmp_path)
    assert not console and not asked
    scripts = re.findall(r"<script.*?</script>", dom, re.S)
    assert len(scripts) == 1 and "alert" not in scripts[0] and "alert(1)" in dom
    assert dom.index(f"{best} is 0.1000 above") < dom.index("The Pareto front")
    for text in (
        "The finals",
        "Which choices mattered",
        "yolo11n, baseline",
        "Failures",
        "Run this search again",
    ):
        assert text in dom, text
    assert '<th scope="col" class="n"><button>Trial</button>' in dom  # the script has run
    shown = re.findall(r'<figure id="net-(\d+)" class="on">', dom)
    assert [int(number) for number in shown] == [study.best.number]


@pytest.mark.skipif(not BROWSER, reason="no Chromium here")
def test_what_the_test_looks_for_is_found(tmp_path):
    """A page that does what ours must not is caught."""
    page = tmp_path / "page.html"
    page.write_text("<img src='http://127.0.0.1:9/a.png'><script>nothing()</script>")
    _, console, asked = visit(page, tmp_path)
    assert any("nothing is not defined" in line for line in console)
    assert asked == {"http://127.0.0.1:9/a.png"}
