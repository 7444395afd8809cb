"""What a search leaves for people: a table, two plots and one page, whose templates are beside it.

It may import `network` and `study`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from yolo_nas_ext.errors import RunError
from yolo_nas_ext.files import replacing
from yolo_nas_ext.report.page import page
from yolo_nas_ext.report.plots import pareto_png, progress_png
from yolo_nas_ext.report.summary import first_random_median
from yolo_nas_ext.report.tables import summary_table, trials_csv, trials_jsonl
from yolo_nas_ext.study.study import Study

__all__ = [
    "first_random_median",
    "page",
    "pareto_png",
    "progress_png",
    "summary_table",
    "trials_csv",
    "trials_jsonl",
    "write",
]


def write(study: Study, folder: Path, **page_kwargs: Any) -> None:
    """Write the trials as CSV and JSON lines, two plots and ``report.html`` into a folder.

    While a search runs the two plots are left out, as drawing them takes longest. Each file
    replaces the one of the same name whole or not at all: a reader never sees half of one.

    Args:
        study: The record; any number of complete trials, none included.
        folder: Where to write; made if absent.
        **page_kwargs: Keyword arguments of `page`; ``title`` and ``settings`` are needed.
            The title is that of the plot too.

    Raises:
        RunError: Where the folder cannot be written.
    """
    title = str(page_kwargs.get("title", ""))
    files: dict[str, Callable[[Path], object]] = {
        "trials.csv": lambda path: path.write_bytes(trials_csv(study).encode()),
        "trials.jsonl": lambda path: path.write_bytes(trials_jsonl(study).encode()),
        "pareto.png": lambda path: pareto_png(study, path, title),
        "progress.png": lambda path: progress_png(study, path),
        "report.html": lambda path: path.write_bytes(page(study, **page_kwargs).encode()),
    }
    if page_kwargs.get("running"):
        files = {name: fill for name, fill in files.items() if not name.endswith(".png")}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, fill in files.items():
            with replacing(folder / name) as temporary:
                fill(temporary)
    except OSError as error:
        raise RunError(
            f"{folder}: the report cannot be written ({error.strerror or error}); make room or "
            "copy the run elsewhere, then resume it"
        ) from error
