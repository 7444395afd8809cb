"""What a user adds from a file: what is wrong with it is said in one line, before anything runs."""

import subprocess
import sys

import cloudpickle
import pytest

from yolo_nas_ext import ChoiceSpace, plugins, search, strategies
from yolo_nas_ext.cli import main
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.network.blocks import BLOCKS

GREEDY = """
class First:
    def __init__(self, space, *, goal=None):
        self.space = space
    def propose(self, history, n, rng):
        return [self.space.point({"a": len(history)})]
class Odd:
    pass
class Mute:
    def __init__(self, space, *, goal=None):
        pass
"""
BLOCK = """
from yolo_nas_ext.network.architecture import Block
from yolo_nas_ext.network.block_rows import BlockType
BLOCKS = {{{name!r}: BlockType(rows=lambda b: {rows}, read=lambda rows: {read}, about="")}}
"""
WIDE = (
    "[(1, 'Conv', (b.width, 1)), "
    "(b.depth, 'Bottleneck', (b.width, True, 1, (9, 9), b.hidden / b.width))]"
)
READ = (
    "(Block('wide', rows[0][2][0], rows[1][0], 1, round(rows[1][2][0] * rows[1][2][4])), 2) "
    "if len(rows) > 1 and rows[1][1] == 'Bottleneck' and rows[1][2][3] == (9, 9) else None"
)


@pytest.fixture
def file(tmp_path):
    def written(text, name="own.py"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return written


def test_a_strategy_from_a_file_searches(file):
    path = file(GREEDY)
    study = search(
        ChoiceSpace({"a": tuple(range(5))}),
        lambda point: {"fitness": point["a"]},
        strategy=f"{path}:First",
        trials=4,
    )
    assert [trial.point["a"] for trial in study.trials] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.py:First", "none.py does not exist"),
        ("{path}:Nothing", "has no Nothing; it has First, Odd, Mute"),
        ("{path}:Odd", "cannot be made with (space, goal=goal) (TypeError"),
        ("{path}:Mute", "has no propose"),
    ],
)
def test_a_strategy_that_cannot_be(file, name, message):
    name = name.format(path=file(GREEDY))
    with pytest.raises(NASError) as caught:
        strategies.make(name, ChoiceSpace({"a": (1, 2)}))
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense(", "cannot be run (SyntaxError"),
        ("1 / 0", "cannot be run (ZeroDivisionError"),
        ("x = 1", "needs BLOCKS"),
        ("BLOCKS = {'a': 1}", "block 'a' is a int, not a BlockType"),
        (BLOCK.format(name="c2f", rows="[]", read="None"), "'c2f' is in the catalogue already"),
        (BLOCK.format(name="b", rows="[(1, 'Odd', ())]", read="None"), "has rows of Odd, whose"),
        (BLOCK.format(name="b", rows="[(1, 'Conv', (8,))]", read="None"), "has 8 channels where"),
        (BLOCK.format(name="b", rows="1 / 0", read="None"), "fails on Block(kind='b'"),
    ],
)
def test_blocks_that_cannot_be(file, text, message):
    before = dict(BLOCKS)
    with pytest.raises(NASError) as caught:
        plugins.load_blocks(str(file(text)))
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert before == BLOCKS


def test_a_second_load_of_blocks_says_their_names_and_adds_none(file, catalogue):
    path = str(file(BLOCK.format(name="wide", rows=WIDE, read=READ)))
    assert plugins.load_blocks(path) == ("wide",)
    known = dict(BLOCKS)
    assert plugins.load_blocks(path) == ("wide",) and known == BLOCKS
    assert plugins.load_blocks(None) == ()


def test_bad_files_are_bad_input_of_the_command(file, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    path = file("class Lean:\n    def __init__(self, config, data):\n        pass\n")
    for key, message in (
        (f"estimator={path}:Lean", "has no estimate("),
        (f"estimator={path}:Gone", "has no Gone"),
        ("blocks=gone.py", "gone.py does not exist"),
    ):
        assert main(["search", key, "trials=1", "baseline=none", "project=runs"]) == 2
        assert message in capsys.readouterr().err and not (tmp_path / "runs").exists()


def test_another_process_gets_what_is_in_the_file_with_it(file):
    path = file("def seven():\n    return 7\n")
    pickled = cloudpickle.dumps(plugins.load(f"{path}:seven", "estimator"))
    path.unlink()
    code = "import sys, cloudpickle; print(cloudpickle.loads(sys.stdin.buffer.read())())"
    done = subprocess.run([sys.executable, "-c", code], input=pickled, capture_output=True)
    assert done.stdout.strip() == b"7", done.stderr
