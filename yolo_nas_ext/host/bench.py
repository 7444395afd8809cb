"""A device behind a command: networks are exported for it, and what it printed is kept."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from yolo_nas_ext.cost.latency.command import FORMS, Command
from yolo_nas_ext.cost.latency.int8 import quantized
from yolo_nas_ext.cost.latency.protocol import Measurement, Protocol, summary
from yolo_nas_ext.files import json_of, text_of, write_text
from yolo_nas_ext.host.latency import Model, written

AGAIN = 2  # times that a network is measured again whose numbers are far apart
# In a run folder, a line each network; by the key of the command.
FILES = {"latency": "latency.jsonl", "energy": "energy.jsonl"}
FILE = FILES["latency"]
RUNS = {"latency": "runs_ms", "energy": "runs_j"}  # what its numbers are called there


class Subject(NamedTuple):
    """What is to be measured.

    Attributes:
        key: The network's, by which its numbers are kept.
        model: The network.
        imgsz: Image size in pixels.
    """

    key: str
    model: Model
    imgsz: int


class Bench:
    """Measures networks by a command, each once: its numbers are kept by the network's key.

    Args:
        command: What measures.
        nc: Classes of an `Architecture`.
        task: What it does.
        repeats: Runs of the command for a network, before any is repeated.
        precision: ``int8`` where the ONNX file is quantised, with ranges of random images.
    """

    def __init__(
        self, command: Command, *, nc: int, task: str, repeats: int, precision: str = "fp32"
    ) -> None:
        self.command, self.nc, self.task, self.repeats = command, nc, task, repeats
        self.precision = precision
        self._known: dict[str, dict[str, Any]] = {}  # rows of the file by identity
        self._file: Path | None = None

    def keep(self, folder: Path) -> None:
        """Keep what is known, and what is going to be, in a file of a folder; take what is there.

        A line that is damaged, such as the last one of a process that was killed, is left out.
        """
        self._file = folder / FILES[self.command.key]
        self._known = {**_rows(self._file, self._runs_in), **self._known}
        self._write()

    @property
    def _runs_in(self) -> str:
        return RUNS[self.command.key]

    def measure(self, subjects: Mapping[str, Subject]) -> dict[str, Measurement]:
        """Return the latency of networks, which take turns; of a command of energy their joules.

        A network whose numbers are far apart is measured again, up to twice; the median of all of
        its numbers counts.

        Raises:
            NASError: For a network that cannot be exported, or where the command fails.
        """
        with TemporaryDirectory(prefix="nas-bench-") as temporary:
            files: dict[str, dict[str, Path]] = {}
            for _ in range(1 + AGAIN):
                todo = {name: one for name, one in subjects.items() if not self._settled(one)}
                for name, one in todo.items():
                    if name not in files:
                        files[name] = self._files(one, Path(temporary) / str(len(files)))
                runs: dict[str, list[list[float]]] = {name: [] for name in todo}
                for _ in range(self.repeats):
                    for name, one in todo.items():
                        where = _called(one)
                        runs[name].append(self.command.run(files[name], one.imgsz, where))
                for name, one in todo.items():
                    self._add(one, runs[name])
        return {name: self._measurement(one) for name, one in subjects.items()}

    def _settled(self, subject: Subject) -> bool:
        """Say whether a network's numbers agree, or whether it was measured often enough."""
        runs = self._runs(subject)
        if len(runs) >= (1 + AGAIN) * self.repeats:
            return True
        return len(runs) >= self.repeats and self._measurement(subject).steady

    def _runs(self, subject: Subject) -> list[list[float]]:
        """Return the numbers of a network that are known, a list each run."""
        row = self._known.get(self._identity(subject))
        return row[self._runs_in] if row else []

    def _measurement(self, subject: Subject) -> Measurement:
        times = np.array([ms for run in self._runs(subject) for ms in run])
        protocol = Protocol(imgsz=subject.imgsz, repeats=self.repeats)
        return summary(times, protocol, self.command.text, "a command")

    def _files(self, subject: Subject, folder: Path) -> dict[str, Path]:
        """Return the network as the files that the command asks for."""
        folder.mkdir()
        protocol = Protocol(imgsz=subject.imgsz)
        found = {}
        for form in self.command.forms:
            found[form] = written(
                subject.model,
                FORMS[form],
                protocol,
                folder,
                nc=self.nc,
                task=self.task,
                where=_called(subject),
            )
        if self.precision == "int8":
            for file in found.values():
                file.write_bytes(quantized(file.read_bytes()))
        return found

    def _add(self, subject: Subject, runs: list[list[float]]) -> None:
        """Take in the numbers of a network, and write them where a file keeps them."""
        identity = self._identity(subject)
        self._known[identity] = {
            "identity": identity,
            "network": subject.key,
            "imgsz": subject.imgsz,
            "command": self.command.text,
            self._runs_in: [*self._runs(subject), *runs],
        }
        self._write()

    def _write(self) -> None:
        if self._file is not None:
            write_text(self._file, "".join(f"{json.dumps(r)}\n" for r in self._known.values()))

    def _identity(self, subject: Subject) -> str:
        about = [
            self.command.arguments,
            subject.key,
            subject.imgsz,
            self.nc,
            self.task,
            *([self.precision] * (self.precision != "fp32")),
        ]
        return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]


def _rows(file: Path, numbers: str) -> dict[str, dict[str, Any]]:
    """Return what a file holds, as far as it is what `Bench` writes; `numbers` are called so."""
    found = {}
    for line in text_of(file).splitlines() if file.is_file() else ():
        try:
            row = json_of(line)
            runs = row[numbers]
            times = [ms for run in runs for ms in run]
            if all(runs) and times and all(0 < ms < math.inf for ms in times):
                found[str(row["identity"])] = row
        except (ValueError, LookupError, TypeError, AttributeError):
            continue
    return found


def _called(subject: Subject) -> str:
    """Return what a network's files are called; the key is of plain characters."""
    return f"nas-{subject.key}"
