"""Every shipped space: what is sampled is built, costs what we say and reads back as itself."""

import json
import random
import subprocess
import sys

import pytest
import thop
import torch
import yaml
from ultralytics.nn.tasks import DetectionModel, yaml_model_load

from yolo_nas_ext.cost.counts import costs
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.files import resource
from yolo_nas_ext.network.block_rows import BlockType
from yolo_nas_ext.network.emit import emit, to_yaml
from yolo_nas_ext.network.parse import read
from yolo_nas_ext.space import schema
from yolo_nas_ext.space.detector import DetectorSpace

SPACES = sorted(p.stem for p in resource("cfg", "spaces").glob("*.yaml"))


def check_one(space, point, nc=3):
    """One point: build in Ultralytics, forward, count, read back."""
    architecture = space.architecture(point)
    model = DetectionModel(emit(architecture, nc), nc=nc, verbose=False)
    cost = costs(architecture, nc, 64)
    assert cost.params == sum(p.numel() for p in model.parameters())
    # Ultralytics' own counter, run at this size: its summary extrapolates from 32 px, which is
    # exact but for squeeze and excitation.
    assert 2 * thop.profile(model, inputs=[torch.zeros(1, 3, 64, 64)], verbose=False)[0] == (
        cost.flops
    )
    with torch.no_grad():
        boxes = model.eval()(torch.zeros(1, 3, 64, 64))[0]
    assert torch.isfinite(boxes).all()
    strides = {2**level for level in architecture.head.levels}
    assert {int(s) for s in model.stride} == strides
    text = yaml.safe_load(to_yaml(architecture, nc))
    assert read(text).key == architecture.key
    assert space.identity(space.point_of(architecture)) == architecture.key


@pytest.mark.parametrize("name", SPACES)
def test_sampled_points_build_count_and_read_back(name):
    space, rng = DetectorSpace.load(name), random.Random(1)
    for _ in range(3 if name == "timm" else 12):  # whose networks are large; 300 are a slow test
        check_one(space, space.sample(rng))


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("name", SPACES)
def test_300_sampled_points_build_count_and_read_back(name):
    space, rng = DetectorSpace.load(name), random.Random(2)
    for _ in range(300):
        check_one(space, space.sample(rng))


@pytest.mark.parametrize("name", SPACES)
def test_moves_stay_in_the_space(name):
    space, rng = DetectorSpace.load(name), random.Random(3)
    for _ in range(300):
        a, b = space.sample(rng), space.sample(rng)
        for point in (a, space.mutate(a, rng), space.crossover(a, b, rng)):
            assert space.feasible(point) and space.canonical(point) == point
            widths = [block.width for block in space.architecture(point).backbone]
            stages = [
                w
                for w, b in zip(widths, space.architecture(point).backbone, strict=True)
                if b.hidden
            ]
            assert not space.rules or stages[:4] == sorted(stages[:4])


@pytest.mark.parametrize("name", [name for name in SPACES if name != "timm"])  # which is asked
def test_same_seed_same_keys_in_another_process(name):
    program = (
        "import json, random, sys; from yolo_nas_ext.space.detector import DetectorSpace;"
        "s = DetectorSpace.load(sys.argv[1]); r = random.Random(5);"
        "print(json.dumps([s.architecture(s.sample(r)).key for _ in range(20)]));"
        "assert 'torch' not in sys.modules and 'ultralytics' not in sys.modules"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, name], capture_output=True, text=True, check=True
    )
    space, rng = DetectorSpace.load(name), random.Random(5)
    assert json.loads(run.stdout) == [space.architecture(space.sample(rng)).key for _ in range(20)]


@pytest.mark.parametrize("name", ["yolov8n", "yolo11n", "yolo26n"])
@pytest.mark.parametrize("nc", [3, 80])
def test_hand_made_models_are_points_of_the_yolo_space(name, nc):
    definition = yaml_model_load(f"{name}.yaml")
    host = DetectionModel(dict(definition), nc=nc, verbose=False)
    architecture = read(definition, definition["scale"])
    space = DetectorSpace.load("yolo")
    point = space.point_of(architecture)
    assert space.feasible(point) and space.architecture(point) == architecture
    ours = DetectionModel(emit(architecture, nc), nc=nc, verbose=False)
    counts = [sum(p.numel() for p in m.parameters()) for m in (host, ours)]
    assert counts[0] == counts[1] == costs(architecture, nc, 640).params
    assert [p.shape for p in host.parameters()] == [p.shape for p in ours.parameters()]


# The published backbones: (width, bottleneck, repeats) of the five super-blocks.
DAMO = {
    "L20": ("k1kx", 24, [(64, 24, 2), (96, 64, 2), (192, 96, 2), (192, 152, 2), (384, 192, 1)]),
    "L25": ("k1kx", 32, [(128, 24, 1), (128, 88, 5), (256, 128, 3), (256, 120, 2), (512, 144, 1)]),
    "L35": ("kxkx", 32, [(128, 64, 2), (128, 64, 4), (256, 256, 4), (256, 256, 4), (512, 256, 3)]),
    "L45": ("kxkx", 32, [(128, 96, 3), (128, 96, 5), (256, 384, 5), (256, 384, 5), (512, 384, 4)]),
}


@pytest.mark.parametrize("name", DAMO)
def test_damo_backbones_are_points_of_the_damo_space(name):
    kind, stem, blocks = DAMO[name]
    space = DetectorSpace.load("damo")
    values = {n: options[0] for n, options in space.choices.items()} | {"stem.width": stem}
    for stage, (width, hidden, depth) in zip(("p2", "p3", "p4", "p4b", "p5"), blocks, strict=True):
        values |= {f"{stage}.block": kind, f"{stage}.width": width, f"{stage}.hidden": hidden}
        values |= {f"{stage}.depth": depth, f"{stage}.kernel": 3}
    point = space.point(values)
    assert space.feasible(point)
    # L20 keeps within its budget of 20 layers by one; the others meet theirs.
    layers = 19 if name == "L20" else int(name[1:])
    assert costs(space.architecture(point), 80, 64).layers == layers
    check_one(space, point)


def test_levels_change_what_the_head_reads():
    space = DetectorSpace.load("yolo")
    point = dict(space.sample(random.Random(0)))
    for levels, strides in {"3-5": [8, 16, 32], "3-4": [8, 16], "2-4": [4, 8, 16]}.items():
        architecture = space.architecture(space.point(point | {"levels": levels}))
        model = DetectionModel(emit(architecture, 2), nc=2, verbose=False)
        assert [int(s) for s in model.stride] == strides
    wide = space.architecture(space.point(point | {"levels": "2-5:3-5"}))
    assert wide.neck.levels == (2, 3, 4, 5) and wide.head.levels == (3, 4, 5)


def test_choices_without_effect_do_not_make_another_point():
    space = DetectorSpace.load("yolo")
    point = dict(space.sample(random.Random(0))) | {"levels": "3-4"}
    points = {space.point(point | {"p5.width": w}) for w in space.choices["p5.width"]}
    assert len(points) == 1
    assert not any(name.startswith("p5.") for name in space.active(points.pop()))


BASE = {
    "stem": {"width": 16},
    "stages": {
        "p2": {"block": "c2f", "width": 32},
        "p3": {"block": ["c2f", "k1kx"], "width": [32, 64]},
        "p4": {"block": "c2f", "width": 64},
    },
    "levels": ["3-4", "2-4"],
    "neck": {"block": "c2f", "width": 32},
}


def edited(**changes):
    content = json.loads(json.dumps(BASE))
    for path, value in changes.items():
        *parents, last = path.split("__")
        part = content
        for key in parents:
            part = part[key]
        part[last] = value
    return content


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stages__p3__block": "c2ff"}, r"p3\.block has the option 'c2ff'.*Did you mean 'c2f'\?"),
        ({"stages__p3__widht": 3}, r"p3: unknown key 'widht'\. Did you mean 'width'\?"),
        ({"stages__p3__width": 30}, r"p3\.width has the option 30; allowed is a multiple of 8"),
        ({"stages__p3__width": []}, r"p3\.width has no options"),
        ({"stages__p3__width": [32, 32]}, "lists an option twice"),
        ({"stages__p3__width": {"from": 8, "to": "x"}}, "a range has whole numbers"),
        ({"stages__p3__depth": True}, r"p3\.depth has the option True"),
        ({"stages__p3__down": "inside"}, r"p3\.down: block c2f cannot down-sample inside"),
        ({"levels": "3-5"}, r"levels has the option '3-5'; allowed is .* within levels 2 to 4"),
        ({"levels": 3}, "levels has the option 3"),
        ({"neck": {"block": "c2f"}}, r"neck\.width is missing"),
        ({"neck__kind": "fpn"}, r"neck\.kind has the option 'fpn'"),
        ({"head": {"reg_max": 0}}, r"head\.reg_max has the option 0"),
        ({"contexts": "none"}, "unknown key 'contexts'. Did you mean 'context'"),
        ({"context": "spp"}, "context has the option 'spp'.*Did you mean 'sppf'"),
        ({"rules": {"nondecreasing": ["height"]}}, "rules.nondecreasing: 'height'"),
        ({"rules": {"hidden": 3}}, "rules.hidden is 3"),
        ({"mutation": {"width": {"scale": ["x"]}}}, "mutation.width is"),
        ({"stages": []}, "stages holds"),
        ({"stages__p3__kernel": 5, "stages__p3__block": "c2fcib"}, "add one of them"),
    ],
)
def test_bad_space_files_are_one_clear_line(tmp_path, changes, message):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(edited(**changes)))
    with pytest.raises(NASError, match=message) as caught:
        DetectorSpace.load(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.usefixtures("catalogue")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"stages__p3__block": "own"},
            r"stages\.p3\.kernel is not given and then 3, which block own cannot have: add kernel: "
            r"\[5, 7\] to stages\.p3",
        ),
        ({"neck__block": "own"}, r"neck\.kernel is not given .* add kernel: \[5, 7\] to neck"),
        (
            {"stages__p3__block": "own", "stages__p3__kernel": 3},
            r"stages\.p3\.kernel is \[3\], but block own has kernels \[5, 7\]: add one",
        ),
    ],
)
def test_a_kernel_that_nobody_gave_is_said_to_be_the_default(tmp_path, changes, message):
    schema.admit("own", BlockType(lambda b: [], lambda rows: None, "", kernels=(5, 7)))
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(edited(**changes)))
    with pytest.raises(NASError, match=message):
        DetectorSpace.load(path)


def test_base_of_the_bad_files_is_good(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(BASE))
    check_one(DetectorSpace.load(path), DetectorSpace.load(path).sample(random.Random(0)))


def test_unknown_space_and_broken_yaml(tmp_path):
    with pytest.raises(NASError, match=r"space=yolos: no such space. Did you mean 'yolo'\?"):
        DetectorSpace.load("yolos")
    path = tmp_path / "broken.yaml"
    path.write_text("stem: [")
    with pytest.raises(NASError, match="not a YAML file"):
        DetectorSpace.load(path)
