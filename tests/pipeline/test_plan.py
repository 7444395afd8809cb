"""What a plan says before a search begins."""

import pytest

from tests.helpers.parents import checkpoint
from tests.helpers.shapes import draw
from yolo_nas_ext.config.search import configure
from yolo_nas_ext.pipeline import plan

BLOCKS = """
from yolo_nas_ext import Block, BlockType

def rows(b):
    return [(b.depth, "Conv", (b.width, 9, 1))]

def read(rows):
    n, module, args = rows[0]
    return (Block("nine", args[0], n, 1), 1) if (module, args[1:]) == ("Conv", (9, 1)) else None

BLOCKS = {"nine": BlockType(rows=rows, read=read, about="9x9", bottleneck=False)}
"""
SPACE = """
stem: {block: conv, width: 8}
stages:
  p2: {block: [BLOCK, c2f], width: [16, 32]}
  p3: {block: c2f, width: [32, 64]}
levels: 2-3
neck: {block: c2f, width: 32}
"""


NAMING = (
    "has the block nine; a space file names a block in a stage or the neck, as block: [nine, c2f]"
)


@pytest.mark.usefixtures("catalogue")
def test_a_parent_without_the_block_is_said_to_have_none(tmp_path):
    (tmp_path / "own.py").write_text(BLOCKS)
    given = {"data": str(draw(tmp_path / "shapes")), "imgsz": 64, "threads": 1, "baseline": "none"}
    own = {"blocks": str(tmp_path / "own.py"), "model": str(checkpoint(tmp_path, seed=0))}
    made = plan.make(configure({**given, **own}, {}, {}))
    (note,) = [note for note in made.notes if note.startswith("blocks=")]
    assert note.endswith(f"no network of space=parent {NAMING}")


@pytest.mark.usefixtures("catalogue")
@pytest.mark.parametrize(("block", "said"), [("nine", False), ("c3", True)])
def test_a_block_that_no_network_has_is_said(tmp_path, block, said):
    data = draw(tmp_path / "shapes")
    (tmp_path / "own.py").write_text(BLOCKS)
    (tmp_path / "own.yaml").write_text(SPACE.replace("BLOCK", block))
    given = {"data": str(data), "imgsz": 64, "threads": 1, "estimator": "resolved"}
    own = {"blocks": str(tmp_path / "own.py"), "space": str(tmp_path / "own.yaml")}
    made = plan.make(configure({**given, **own, "baseline": "none"}, {}, {}))
    notes = [note for note in made.notes if note.startswith("blocks=")]
    assert bool(notes) == said
    if said:
        assert notes[0].endswith(f"own.yaml {NAMING}")
