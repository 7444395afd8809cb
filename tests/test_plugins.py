"""What a user adds from a file: what is wrong with it is said in one line, before anything runs."""

import subprocess
import sys

import cloudpickle
import pytest

from yolo_nas_ext import ChoiceSpace, plugins, search, strategies
from yolo_nas_ext.cli import main
from yolo_nas_ext.data.builtin.cells import ensure_cells
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
class Short(Mute):
    def propose(self, history, rng):
        return []
class Gives(Mute):
    gives = None
    def propose(self, history, n, rng):
        return self.gives
class One(Gives):
    gives = {"a": 1}
class Foo(Gives):
    gives = [{"foo": 1}]
class Number(Gives):
    gives = 3
class Bug(Mute):
    def propose(self, history, n, rng):
        raise ValueError("my bug")
"""
LEAN = """
class Lean:
    def __init__(self, config, data):
        pass
class Old(Lean):
    def estimate(self, architecture, fidelity=None, report=None):
        return {"fitness": 1.0}
"""
OURS = """
class Gives:
    gives = None
    def __init__(self, config, data):
        pass
    def estimate(self, architecture, fidelity=None, report=None, weights=None):
        return self.gives
class Number(Gives):
    gives = 0.5
class Text(Gives):
    gives = {"fitness": 0.5, "state": "x"}
class Good(Gives):
    gives = {"fitness": 0.5}
class Bug(Gives):
    def estimate(self, *given, **named):
        return 1 / 0
class Silent:
    def __init__(self, space, *, goal=None):
        pass
    def propose(self, history, n, rng):
        return None
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


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    return ensure_cells(tmp_path_factory.mktemp("cells"), train=8, val=4, size=64) / "data.yaml"


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
        ("{path}:Nothing", "has no Nothing; it has First, Odd, Mute, "),
        ("{path}:Odd", "cannot be made with (space, goal=goal) (TypeError"),
        ("{path}:Mute", "has no propose"),
        ("{path}:Short", "cannot be called as propose(history, n, rng) (too many"),
    ],
)
def test_a_strategy_that_cannot_be(file, name, message):
    name = name.format(path=file(GREEDY))
    with pytest.raises(NASError) as caught:
        strategies.make(name, ChoiceSpace({"a": (1, 2)}))
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("One", "propose() has to return a list of points, not one point: return [point]"),
        ("Number", "propose() has to return a list of points, not int"),
        ("Foo", "propose() has to return a list of points of the space: unknown choice 'foo'"),
        ("Bug", "propose() failed (ValueError: my bug, own.py:"),
    ],
)
def test_a_strategy_that_proposes_what_cannot_be(file, name, message):
    name = f"{file(GREEDY)}:{name}"
    with pytest.raises(NASError) as caught:
        search(ChoiceSpace({"a": (1, 2)}), lambda point: {"fitness": 1.0}, strategy=name, trials=2)
    assert f"strategy={name}: {message}" in str(caught.value) and "\n" not in str(caught.value)


def test_a_strategy_that_proposes_nothing_ends_the_search(file):
    space = ChoiceSpace({"a": (1, 2)})
    study = search(space, lambda point: {}, strategy=f"{file(GREEDY)}:Gives", trials=2)
    assert not study.trials


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
    path = file(LEAN)
    strategy = file(GREEDY, "looks.py")
    for key, message in (
        (f"estimator={path}:Lean", "has no estimate("),
        (f"estimator={path}:Gone", "has no Gone"),
        (f"estimator={path}:Lean model=yolo11n.pt", "does not say that it starts from weights"),
        (f"estimator={path}:Lean inherit=a.pt", "does not say that it starts from weights"),
        (f"estimator={path}:Old", "(got an unexpected keyword argument 'weights')"),
        (f"strategy={strategy}:Short", f"strategy={strategy}:Short: propose() cannot be called"),
        ("blocks=gone.py", "gone.py does not exist"),
    ):
        assert main(["search", *key.split(), "trials=1", "baseline=none", "project=runs"]) == 2
        assert message in capsys.readouterr().err and not (tmp_path / "runs").exists()


def test_another_process_gets_what_is_in_the_file_with_it(file):
    path = file("def seven():\n    return 7\n")
    pickled = cloudpickle.dumps(plugins.load(f"{path}:seven", "estimator"))
    path.unlink()
    code = "import sys, cloudpickle; print(cloudpickle.loads(sys.stdin.buffer.read())())"
    done = subprocess.run([sys.executable, "-c", code], input=pickled, capture_output=True)
    assert done.stdout.strip() == b"7", done.stderr


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Gives", "estimate() has to return a dictionary with 'fitness' of numbers, not None"),
        ("Number", "estimate() has to return a dictionary with 'fitness' of numbers, not float"),
        ("Text", "with 'fitness' of numbers, not state='x'"),
        ("Bug", "ZeroDivisionError: division by zero, own.py:16"),
    ],
)
def test_what_is_wrong_in_an_estimator_is_in_the_record(file, cells, tmp_path, name, said):
    keys = {"data": str(cells), "space": "tiny", "imgsz": 64, "baseline": "none", "confirm": 0}
    keys |= {"estimator": f"{file(OURS)}:{name}", "project": str(tmp_path / "runs"), "trials": 1}
    (trial,) = search(**keys).trials
    assert said in trial.error


def test_a_search_whose_strategy_proposes_nothing_says_so(file, cells, tmp_path, capsys):
    path = file(OURS)
    keys = [f"data={cells}", "imgsz=64", "baseline=yolo11n", "max_flops=none", "trials=4"]
    keys += [f"estimator={path}:Good", f"strategy={path}:Silent", f"project={tmp_path / 'runs'}"]
    assert main(["search", *keys, "space=tiny", "confirm=0", "finalists=0"]) == 0
    assert "the strategy proposed nothing after 1 of 4 trials" in capsys.readouterr().out


def test_a_search_by_a_function_says_that_nothing_is_left(capsys):
    space = ChoiceSpace({"a": (1, 2)})
    assert len(search(space, lambda p: {"fitness": p["a"]}, trials=4).trials) == 2
    assert "the strategy proposed nothing after 2 of 4 trials" in capsys.readouterr().out


def test_the_function_of_a_search_returns_a_dictionary():
    study = search(ChoiceSpace({"a": (1, 2)}), lambda point: 0.5, trials=1)
    assert study.trials[0].error == (
        "error: the function has to return a dictionary with 'fitness' of numbers, not float"
    )
