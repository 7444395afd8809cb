"""What the documentation shows works."""

import re

import pytest
import yaml

from yolo_nas_ext import ChoiceSpace, search
from yolo_nas_ext.network.blocks import BLOCKS
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.space.schema import CONTEXTS, DOWNS, STAGE_BLOCKS


def blocks(path, language):
    return re.findall(rf"```{language}\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)


def test_the_example_space_is_one(root, tmp_path):
    example = blocks(root / "docs" / "spaces.md", "yaml")[1]
    path = tmp_path / "example.yaml"
    path.write_text(example)
    import random

    space, rng = DetectorSpace.load(path), random.Random(0)
    for _ in range(20):
        space.architecture(space.sample(rng))
    assert set(yaml.safe_load(example)) >= {
        "stem",
        "stages",
        "context",
        "levels",
        "neck",
        "head",
        "rules",
    }


def test_every_block_is_in_the_documentation(root):
    text = (root / "docs" / "spaces.md").read_text(encoding="utf-8")
    for kind in (*STAGE_BLOCKS, *DOWNS):
        assert f"`{kind}`" in text, kind
    assert all(kind in BLOCKS for kind in STAGE_BLOCKS) and "sppf+c2psa" in CONTEXTS


def test_the_readmes_second_example_runs(root):
    code = blocks(root / "README.md", "python")[1]
    names = {"ChoiceSpace": ChoiceSpace, "search": search}
    exec(code, names)
    assert len(names["study"].trials) == 9


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_readmes_first_example_runs(root, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(blocks(root / "README.md", "python")[0], names)
    assert names["model_definition"]["nc"] == 3


def test_every_link_of_the_readme_exists(root):
    for name in ("README.md", "docs/spaces.md", "docs/decisions.md", "docs/experiments.md",
                 "docs/comparing.md", "docs/backbones.md"):  # fmt: skip
        path = root / name
        for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{name}: {target}"
