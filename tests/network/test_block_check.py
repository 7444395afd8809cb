"""A user's block is refused before anything runs: unknown costs, other sizes, rows of others."""

from dataclasses import replace

import pytest
from ultralytics.nn.tasks import yaml_model_load

from yolo_nas_ext.errors import NASError
from yolo_nas_ext.network.architecture import Block
from yolo_nas_ext.network.block_check import check
from yolo_nas_ext.network.block_rows import BlockType
from yolo_nas_ext.network.blocks import BLOCKS
from yolo_nas_ext.network.graph import Graph, Tensor
from yolo_nas_ext.network.modules import forward
from yolo_nas_ext.network.parse import read as read_definition

STOCK = ("yolov8n.yaml", "yolo11n.yaml", "yolo26n.yaml")


def depthwise(b):
    return [(1, "Conv", (b.width, 1, 1)), (b.depth, "Conv", (b.width, b.kernel, 1, None, b.width))]


def read_depthwise(rows):
    if len(rows) < 2 or (rows[0][1], rows[1][1]) != ("Conv", "Conv"):
        return None
    (_, _, point), (depth, _, args) = rows[:2]
    width = point[0]
    if tuple(point) != (width, 1, 1) or len(args) != 5 or args[4] != width:
        return None
    return Block("own", width, depth, 1, 0, args[1]), 2


GOOD = BlockType(depthwise, read_depthwise, "", kernels=(5, 7), bottleneck=False)


def one(rows, **options):
    """A block without repeats and a hidden width, whose `read` comes too late to matter."""
    return BlockType(rows, lambda rows: None, "", **{"bottleneck": False, "deep": False, **options})


def message(block):
    with pytest.raises(NASError) as caught:
        check("own", block, "blocks=own.py")
    text = str(caught.value)
    assert text.startswith("blocks=own.py: block 'own'") and "\n" not in text
    return text


@pytest.mark.parametrize(
    ("block", "said"),
    [
        (
            one(lambda b: [(1, "Conv", (b.width, 3, 1, 2, 1, 2))]),
            "Conv has the arguments (32, 3, 1, 2, 1, 2), and its costs are known for "
            "c, k, s, p, groups alone; leave out argument 6, 2",
        ),
        (
            one(lambda b: [(1, "C2f", (b.width, False, 1, 0.5, None))]),
            "for c, shortcut, groups, e alone; leave out argument 5, None",
        ),
        (one(lambda b: [(1, "Conv", (b.width, (3, 5)))]), "the costs of its row (1, Conv, (32, ("),
        (one(lambda b: [(1, "Conv", ())]), "the costs of its row (1, Conv, ()) are not known"),
        (one(lambda b: [(1, "Conv", [b.width])]), "unhashable type: 'list'"),
    ],
)
def test_costs_that_are_not_known(block, said):
    assert said in message(block)


@pytest.mark.parametrize(
    ("block", "said"),
    [
        (one(lambda b: [(1, "Conv", (2 * b.width, 9))]), "has 64 channels where its width is 32"),
        (one(lambda b: [(1, "Conv", (min(b.width, 64),))]), "64 channels where its width is 256"),
        (
            one(lambda b: [(1, "Conv", (b.width, 5, 2))]),
            "makes 16 x 16 of 32 x 32 pixels where its stride is 1",
        ),
        (
            one(lambda b: [(1, "Conv", (b.width, b.kernel, 1, 1))], kernels=(3, 5)),
            "makes 30 x 30 of 32 x 32 pixels where its stride is 1",
        ),
        (
            one(lambda b: [(1, "Conv", (b.width, 3))], stride=True),
            "makes 32 x 32 of 32 x 32 pixels where its stride is 2",
        ),
        (
            one(lambda b: [(2, "Conv", (b.width, 3))], deep=True),
            "has the same rows for depth 1 and 2; use block.depth in them, or give deep=False",
        ),
        (
            one(lambda b: [(1, "Conv", (b.width, 3))], kernels=(3, 5)),
            "has the same rows for kernel 3 and 5; use block.kernel in them, or give no kernels",
        ),
        (
            one(lambda b: [(1, "Conv", (b.width, 3))], bottleneck=True),
            "use block.hidden in them, or give bottleneck=False",
        ),
    ],
)
def test_sizes_that_were_not_asked_for(block, said):
    assert said in message(block)


def test_kernels_that_no_space_can_name():
    block = one(lambda b: [(1, "Conv", (b.width, b.kernel))], kernels=(5, 9))
    assert "has kernels [5, 9]; 9 is none of 1, 3, 5, 7" in message(block)


def test_a_choice_that_is_not_read_back():
    def forgets(rows):
        found = read_depthwise(rows)
        return found and (replace(found[0], depth=1), 2)

    said = message(BlockType(depthwise, forgets, "", kernels=(5, 7), bottleneck=False))
    assert "read() gives (Block(kind='own', width=32, depth=1" in said and "depth=2" in said


@pytest.mark.parametrize(
    ("read", "said"),
    [
        (
            lambda rows: (Block("own", rows[0][2][0], rows[0][0], 1), 1),
            "reads rows that block 'conv' writes, (1, 'Conv', (32, 3, 2))",
        ),
        (
            lambda rows: (
                (Block("own", rows[0][2][0], rows[0][0], 1), 1)
                if rows[0][1] != "Conv" or rows[0][2][1:] == (9, 1)
                else None
            ),
            "reads rows that block 'scdown' writes",
        ),
        (
            lambda rows: (
                (Block("own", rows[0][2][0], rows[0][0], 1), 1) if rows[0][2][1] == 9 else None
            ),
            "read() fails on rows that block 'adown' writes (IndexError",
        ),
    ],
)
def test_rows_of_others(read, said):
    own = BlockType(lambda b: [(b.depth, "Conv", (b.width, 9, 1))], read, "", bottleneck=False)
    assert said in message(own)


def test_a_block_that_keeps_to_itself_leaves_stock_networks_as_they_are(catalogue):
    stock = [yaml_model_load(name) for name in STOCK]
    before = [read_definition(model, "n") for model in stock]
    check("own", GOOD, "blocks=own.py")
    shipped = dict(BLOCKS)
    BLOCKS.clear()
    BLOCKS.update({"own": GOOD, **shipped})
    assert [read_definition(model, "n") for model in stock] == before


def test_what_a_layer_table_does_not_know_is_bad_input():
    with pytest.raises(NASError, match="leave out argument 6, 2"):
        forward(Graph(1), "Conv", 1, (8, 3, 1, None, 1, 2), (Tensor(0, 3, 8, 8),))
