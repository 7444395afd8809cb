"""The notebook of the first guide, executed by a kernel with small numbers; `make notebook`."""

import json
import re

import pytest

from tests.docs.test_guides import GUIDES, PARENT, SMALL
from tests.helpers.parents import checkpoint
from yolo_nas_ext.data.builtin.cells import ensure_cells

NOTEBOOK = GUIDES[0].parent / "first_search.ipynb"
WHY = "not installed: a kernel brings some thirty packages, so `make notebook` installs it apart"


@pytest.fixture
def cells():
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]


def test_it_is_shipped_without_outputs_and_its_code_is_code(cells):
    for cell in cells:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None
            text = "".join(cell["source"])
            assert text.startswith("!yolo ") or compile(text, cell["id"], "exec")
    assert len({cell["id"] for cell in cells}) == len(cells)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_it_runs(tmp_path, monkeypatch):
    client = pytest.importorskip("nbclient", reason=WHY)
    nbformat = pytest.importorskip("nbformat", reason=WHY)
    pytest.importorskip("ipykernel", reason=WHY)
    small = NOTEBOOK.read_text(encoding="utf-8")
    for key, value in {**SMALL, "imgsz": 64, "trials": 3}.items():
        small = re.sub(rf"(?<![_\w]){key}=\d+", f"{key}={value}", small)
    book = nbformat.reads(small, as_version=4)
    # Few images take the place of those that the first command draws.
    ensure_cells(tmp_path / "drawn", train=12, val=4, size=64).rename(tmp_path / "cells")
    book.cells = [c for c in book.cells if not c.source.startswith("!yolo nas-data")]
    checkpoint(tmp_path).rename(tmp_path / PARENT)
    monkeypatch.chdir(tmp_path)
    client.NotebookClient(book, timeout=600, kernel_name="python3").execute()
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    said = {c.id: "".join(o.get("text", "") for o in c.outputs) for c in code}
    assert "pictures" in said["predict"] and "map50_95" in said["front"]
    assert list(tmp_path.glob("runs/**/best.onnx"))
