"""Demo data of the guides: whole or absent, and what the guides go on with."""

import pytest

from yolo_nas_ext.cli import main
from yolo_nas_ext.data.builtin import demo
from yolo_nas_ext.data.scans import pairing
from yolo_nas_ext.host.dataset import read


def test_cells_are_a_data_set(tmp_path):
    assert main(["data", "demo=cells", f"out={tmp_path / 'cells'}"]) == 0
    data = read(str(tmp_path / "cells" / "data.yaml"), "detect")
    assert (data.nc, len(data.images), list(tmp_path.iterdir())) == (3, 240, [tmp_path / "cells"])


@pytest.mark.parametrize(("name", "scans"), [("lesions", 8), ("nuclei", 80)])
def test_scans_have_their_masks(tmp_path, name, scans):
    demo.draw(name, tmp_path / "scans")
    found = pairing.find(str(tmp_path / "scans"))
    assert found.labelled and len(found.entries) == scans and not found.orphans


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["demo=cels", "out=new"], "Did you mean 'cells'"),
        (["demo=cells"], "out: is required"),
        (["demo=cells", "out=full"], "not an empty folder"),
        (["demo=cells", "out=full/kept/new"], "cannot be written"),
        (["demo=cells", "out=new", "task=detect"], "task=detect: unknown key"),
    ],
)
def test_bad_input_writes_nothing(tmp_path, monkeypatch, capsys, given, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "kept").write_text("kept")
    assert main(["data", *given]) == 2
    assert said in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["full", "kept"]
