"""The array of SLURM in docs/machines.md, with plain processes in the place of tasks."""

import csv
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.shapes import draw

PAGE = Path(__file__).resolve().parents[2] / "docs" / "machines.md"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="the script is one of bash")
def test_tasks_of_the_array_share_one_record(tmp_path):
    found = re.search(r"```bash\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    script, programs = tmp_path / "array.sh", tmp_path / "bin"
    script.write_text(found[1])
    programs.mkdir()
    program = programs / "yolo-nas-search"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m yolo_nas_ext search "$@"\n')
    program.chmod(0o755)
    about = {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(PAGE.parents[1]),
        "DATA": str(draw(tmp_path)),
        "STORAGE": f"sqlite:///{tmp_path / 'shared.db'}",
        "TRIALS": "8",
        "OPTIONS": "estimator=naswot batch=2 imgsz=64 baseline=none confirm=0 strategy=random",
    }
    tasks = [
        subprocess.Popen(
            ["bash", str(script)],
            cwd=tmp_path,
            env={**os.environ, **about, "SLURM_ARRAY_TASK_ID": str(index)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for index in range(2)
    ]
    said = [task.communicate(timeout=600)[0] for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0], said
    tables = [tmp_path / f"runs/task-{index}/shared/trials.csv" for index in range(2)]
    keys = [
        [row["key"] for row in csv.DictReader(table.read_text().splitlines())] for table in tables
    ]
    assert max(map(len, keys)) == 8 == len({*keys[0]} | {*keys[1]})
