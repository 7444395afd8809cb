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
    code = blocks(root / "README.md", "python")[2]
    names = {"ChoiceSpace": ChoiceSpace, "search": search}
    exec(code, names)
    assert len(names["study"].trials) == 9


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_readmes_first_example_runs(root, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(blocks(root / "README.md", "python")[1], names)
    assert names["model_definition"]["nc"] == 3


def test_a_loop_of_ones_own_asks_and_tells(root, capsys):
    code = blocks(root / "docs" / "python.md", "python")[-1]
    assert len([line for line in code.splitlines() if line and "import" not in line]) < 10
    names = {}
    exec(code, names)
    assert len(names["study"].trials) == 6
    assert names["study"].best.point == max(
        (t.point for t in names["study"].trials), key=lambda p: p["depth"] * p["width"]
    )


def anchors(text):
    """The anchors that a page's headings have, on the site as on GitHub."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    for heading in re.findall(r"^#+ (.+)$", text, re.M):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def test_every_link_exists_and_so_does_its_heading(root):
    for path in (root / "README.md", *(root / "docs").rglob("*.md")):
        text = path.read_text(encoding="utf-8")
        for target, _, anchor in re.findall(r"\]\(([^)#:\s]*)(#([^)\s]+))?\)", text):
            page = path.parent / target if target else path
            if target == "reference.md":  # made with the site
                continue
            assert page.exists(), f"{path.name}: {target}"
            if anchor:
                found = set(anchors(page.read_text(encoding="utf-8")))
                assert anchor in found, f"{path.name}: {target}#{anchor}"


def test_the_readme_says_where_things_are(root):
    text = (root / "README.md").read_text(encoding="utf-8")
    for path in (
        "network/blocks.py",
        "strategies/",
        "estimators/training.py",
        "host/training/",
        "pipeline/outputs.py",
        "config/search.py",
    ):
        assert f"`yolo_nas_ext/{path}`" in text, path
    assert "`cfg/nas.yaml`" in text and "make search" in text and "make test" in text
