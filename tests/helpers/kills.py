"""kill -9 of a command that trains models one after the other, and what resuming makes of it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path


def killed_and_resumed(
    command: str, keys: Sequence[str], folder: Path, trainings: Path, every: float
) -> None:
    """Kill a command of two trainings in the second one; resuming does not train the first again.

    Args:
        command: As `python -m yolo_nas_ext` takes it.
        keys: Its arguments.
        folder: What it is resumed by.
        trainings: Where it keeps a file a training.
        every: Seconds between two looks at that folder.
    """
    start = [sys.executable, "-m", "yolo_nas_ext", command]
    process = subprocess.Popen([*start, *keys], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (trainings.is_dir() and any(trainings.glob("*.json"))):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(every)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = {file.name: file.read_text() for file in trainings.glob("*.json")}
    assert len(before) == 1
    done = subprocess.run([*start, f"resume={folder}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "1 of 2 trainings are recorded already" in done.stdout
    after = {file.name: file.read_text() for file in trainings.glob("*.json")}
    assert len(after) == 2 and before.items() <= after.items()
