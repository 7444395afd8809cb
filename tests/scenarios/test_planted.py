import sys

import pytest

from yolo_nas_ext.network.blocks import BLOCKS
from yolo_nas_ext.network.modules import MODULES


@pytest.fixture
def planted(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "benchmarks"))
    monkeypatch.delitem(sys.modules, "planted", raising=False)
    import planted as found  # pyright: ignore[reportMissingImports]

    for table, names in (
        (BLOCKS, found.PLANTED),
        (MODULES, {m for m, _ in found.PLANTED.values()}),
    ):
        for name in names:
            monkeypatch.setitem(table, name, None)  # put back afterwards
    found.plant()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("how", ["darts", "evolution"])
def test_the_block_that_sees_is_found_and_zeros_are_rejected(planted, how):
    row = planted.search("block", how, 0)
    assert row["right"] and row["best"]["p2.block"] == "c2f" and row["fitness"] > 0.2
    assert how == "evolution" or row["rejected"]


@pytest.mark.slow
def test_the_levels_that_see_are_found(planted):
    assert planted.search("levels", "darts", 0)["right"]
