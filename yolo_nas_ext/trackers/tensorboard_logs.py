"""TensorBoard: a log for the search and one for each trial, in `tensorboard/` of the run folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from yolo_nas_ext.trackers.base import Entry, Run

FOLDER = "tensorboard"


class TensorBoard:
    """Logs that ``tensorboard --logdir <run folder>/tensorboard`` shows; ids are their folders."""

    def start(self, run: Run, known: str) -> str:
        """Begin the search's log, or go on with it, and return its folder."""
        self._folder = run.folder / FOLDER
        self._writer = _writer(self._folder / "search")
        if not known:
            rows = "\n".join(f"    {name}: {value}" for name, value in run.parameters.items())
            self._writer.add_text("settings", rows)
        self._writer.flush()
        return "search"

    def add(self, entry: Entry) -> str:
        """Write the log of a trial and return its folder."""
        known = f"{entry.kind}-{entry.number + 1:04}"
        writer = _writer(self._folder / known)
        try:
            text = f"    {entry.name}: {entry.state} {entry.error}".rstrip()
            writer.add_text("about", text)
            for epoch, value in entry.curve.items():
                writer.add_scalar("curve", value, epoch)
            self._scalars(writer, entry.metrics, entry.number)
            # The table of choices against metrics; its own name would begin another log.
            known_metrics = {f"hparam/{name}": value for name, value in entry.metrics.items()}
            writer.add_hparams(dict(entry.parameters), known_metrics, run_name=".")
        finally:
            writer.close()
        return known

    def update(self, known: str, metrics: Mapping[str, float]) -> None:
        """Add what was measured again to the log of a trial."""
        writer = _writer(self._folder / known)
        try:
            self._scalars(writer, metrics, int(known.rpartition("-")[2]) - 1)
        finally:
            writer.close()

    def progress(self, metrics: Mapping[str, float], step: int) -> None:
        """Show the best so far."""
        self._scalars(self._writer, metrics, step)
        self._writer.flush()

    def end(self, metrics: Mapping[str, float], files: Sequence[Path], state: str) -> None:
        """Write the results, and the pictures among the files."""
        import numpy as np
        from PIL import Image

        self._scalars(self._writer, metrics, 0)
        for file in files:
            if file.suffix == ".png":
                with Image.open(file) as picture:
                    shown = np.asarray(picture.convert("RGB"))
                self._writer.add_image(file.stem, shown, dataformats="HWC")
            elif file.suffix == ".md":
                self._writer.add_text(file.stem, file.read_text(encoding="utf-8"))
        self._writer.close()

    @staticmethod
    def _scalars(writer: Any, metrics: Mapping[str, float], step: int) -> None:
        for name, value in metrics.items():
            writer.add_scalar(name, value, step)


def _writer(folder: Path) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder))
