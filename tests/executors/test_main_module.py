import subprocess
import sys

import pytest

SCRIPT = """from yolo_nas_ext import ChoiceSpace, search
held = bytes(1 << 20)  # more than a pipe takes
space = ChoiceSpace({"a": (1, 2)})
found = search(space, lambda p: {"fitness": p["a"] + 0 * len(held)}, trials=2, jobs=2, project="p")
print(found.best.fitness)
"""


def run(folder, root, text):
    (folder / "script.py").write_text(text)
    return subprocess.run(
        [sys.executable, "script.py"],
        cwd=folder,
        env={"PYTHONPATH": str(root), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_script_without_a_guard_ends_in_one_line_and_leaves_nothing(tmp_path, root):
    found = run(tmp_path, root, SCRIPT)
    assert found.returncode and found.stdout == ""
    (line,) = found.stderr.splitlines()
    assert line.startswith("jobs=2: ") and "script.py starts a search" in line
    assert "if __name__ == '__main__':" in line
    assert [path.name for path in tmp_path.iterdir()] == ["script.py"]


@pytest.mark.slow
def test_a_script_whose_search_is_a_function_behind_a_guard_runs(tmp_path, root):
    head, *body = SCRIPT.splitlines()
    lines = [head, "if __name__ == '__main__':", *(f"    {line}" for line in body)]
    found = run(tmp_path, root, "\n".join(lines))
    assert (found.returncode, found.stdout, found.stderr) == (0, "2.0\n", "")
