import random

import pytest
import torch
import yaml
from ultralytics.nn.tasks import DetectionModel, yaml_model_load

from yolo_nas_ext.errors import NASError
from yolo_nas_ext.network.architecture import Architecture, Block, Head, Neck
from yolo_nas_ext.network.block_rows import ratio
from yolo_nas_ext.network.blocks import BLOCKS
from yolo_nas_ext.network.emit import TASKS, emit, to_yaml
from yolo_nas_ext.network.layers import lower
from yolo_nas_ext.network.parse import read
from yolo_nas_ext.space.detector import DetectorSpace


def network(block, width=32):
    """A network of levels P3 and P4 around one block."""
    backbone = (
        *(Block("conv", w, 1, 2, 0, 3) for w in (16, 16, width)),
        block,
        Block("conv", 48, 1, 2, 0, 3),
    )
    neck = Neck(
        (3, 4),
        (Block("c2f", 32, 1, 1, 16),),
        ((Block("conv", 32, 1, 2, 0, 3), Block("c2f", 48, 1, 1, 24)),),
    )
    return Architecture(backbone, neck, Head((3, 4)))


@pytest.mark.parametrize("kind", BLOCKS)
@pytest.mark.parametrize("depth", [1, 3])
def test_every_block_builds_counts_and_reads_back(kind, depth):
    """The conformance test of the catalogue: one entry, every kernel it says it has."""
    entry = BLOCKS[kind]
    width = 40 if kind not in ("sppf", "c2psa") else 32
    for kernel in entry.kernels or (0,):
        for shortcut in (False, True) if entry.shortcut else (False,):
            hidden = entry.fit(16) if entry.bottleneck else 0
            # A convolution of stride 1 in front of another is a super-block, so not one of its own.
            stride = 2 if kind in ("adown", "aconv", "focus", "conv") else 1
            block = Block(kind, width, depth if entry.deep else 1, stride, hidden, kernel, shortcut)
            architecture = network(block)
            if stride == 2:  # one level more
                architecture = Architecture(
                    (*architecture.backbone[:2], block, *architecture.backbone[4:]),
                    architecture.neck,
                    architecture.head,
                )
            model = DetectionModel(emit(architecture, 2), nc=2, verbose=False)
            table = lower(architecture, 2, 64)
            assert table.params == sum(p.numel() for p in model.parameters())
            with torch.no_grad():
                model.eval()(torch.zeros(1, 3, 64, 64))
            again = read(yaml.safe_load(to_yaml(architecture, 2)))
            assert lower(again, 2, 64).params == table.params
            assert again.key == architecture.key


@pytest.mark.parametrize("kind", ["k1kx", "kxkx", "conv", "scdown"])
def test_blocks_that_can_halve_the_resolution(kind):
    entry = BLOCKS[kind]
    block = Block(kind, 32, 2 if entry.deep else 1, 2, 16 if entry.bottleneck else 0, 3)
    backbone = (Block("focus", 16, 1, 2, 0, 3), Block("conv", 16, 1, 2, 0, 3), block)
    architecture = Architecture(backbone, Neck((3,), (), ()), Head((3,)))
    model = DetectionModel(emit(architecture, 1), nc=1, verbose=False)
    assert int(model.stride[0]) == 8
    assert read(emit(architecture, 1)) == architecture


def test_damo_super_block_is_convolution_for_convolution():
    block = Block("k1kx", 48, 3, 2, 24, 5)
    assert BLOCKS["k1kx"].rows(block) == [
        (1, "Conv", (24, 1, 1)),
        (1, "Conv", (48, 5, 2)),
        (2, "Bottleneck", (48, True, 1, (1, 5), 0.5)),
    ]


def test_ratio_gives_the_integer_of_ultralytics():
    for width in range(8, 520, 8):
        for hidden in range(8, 2 * width, 8):
            assert int(width * ratio(hidden, width)) == hidden


def test_key_depends_on_the_architecture_alone():
    space = DetectorSpace.load("yolo")
    architectures = [space.architecture(space.sample(random.Random(i))) for i in range(50)]
    again = [Architecture.from_dict(a.to_dict()) for a in architectures]
    assert again == architectures and [a.key for a in again] == [a.key for a in architectures]
    assert len({a.key for a in architectures}) == len(set(architectures))
    assert read(emit(architectures[0], 3)).key == read(emit(architectures[0], 80)).key


@pytest.mark.parametrize(
    "name", ["yolov8s", "yolov8m", "yolo11m", "yolo26x", "yolov8n-p2", "yolo26n-p2"]
)
def test_other_models_of_ultralytics_keep_their_parameters(name):
    definition = yaml_model_load(f"{name}.yaml")
    host = DetectionModel(dict(definition), nc=4, verbose=False)
    assert lower(read(definition, definition["scale"]), 4, 64).params == sum(
        p.numel() for p in host.parameters()
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("head"), "no 'head' list"),
        (
            lambda d: d["backbone"].__setitem__(2, [-1, 3, "C2fX", [128]]),
            "row 2 .*of no known block",
        ),
        (lambda d: d["backbone"].__setitem__(2, [0, 3, "C2f", [128]]), "row 2 .*does not follow"),
        (lambda d: d["head"].__setitem__(-1, [[21, 18, 15], 1, "Detect", ["nc"]]), "must ascend"),
        (lambda d: d["head"].__setitem__(-1, [[15, 18], 1, "Depth", ["nc"]]), "ends in Depth"),
        (lambda d: d["head"].__setitem__(1, [[-1, 4], 1, "Concat", [1]]), "neighbouring|wired"),
        (lambda d: d["backbone"].__setitem__(2, [-1, "x", "C2f", ["y"]]), "malformed row"),
    ],
)
def test_reading_what_is_no_such_network(change, message):
    definition = yaml_model_load("yolov8n.yaml")
    change(definition)
    with pytest.raises(NASError, match=message):
        read(definition, "n")


def test_other_task_is_refused():
    architecture = DetectorSpace.load("tiny").architecture(
        DetectorSpace.load("tiny").sample(random.Random(0))
    )
    with pytest.raises(NASError, match="task=depth has no head yet"):
        emit(architecture, 2, "depth")


@pytest.mark.parametrize("task", TASKS)
def test_a_model_takes_the_classes_of_the_data_it_is_trained_on(task):
    """Ultralytics builds a definition with the data set's number of classes, whatever it says."""
    from ultralytics.models.yolo.model import YOLO

    space = DetectorSpace.load("tiny")
    architecture = space.architecture(space.sample(random.Random(0)))
    classes = YOLO("yolo11n.yaml").task_map
    built = classes[task]["model"](emit(architecture, 3, task), nc=5, verbose=False)
    head = built.model[-1]
    assert (head.linear.out_features if task == "classify" else head.nc) == 5


def test_a_note_is_a_line_whatever_is_in_it():
    """Names of files come into notes, and a line break of YAML's would end the comment."""
    found = read(yaml_model_load("yolov8n.yaml"), "n")
    for end in ("\n", "\r", "\x85", "\u2028", "\u2029"):
        text = to_yaml(found, 3, notes=[f"from a{end}activation: evaluated"])
        assert "activation" not in yaml.safe_load(text) and "from a" in text
