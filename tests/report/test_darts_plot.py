import pytest

from yolo_nas_ext.report.darts_plot import collapse, learned_png, picture

HISTORY = [
    {"epoch": 2, "entropy": {"a": 1.0, "b": 1.0}, "leaning": 1.0},
    {"epoch": 3, "entropy": {"a": 0.4, "b": 0.8}, "leaning": 1.3},
]


@pytest.mark.parametrize("rows", [1, 2])
def test_the_plot_is_written(tmp_path, rows):
    learned_png(HISTORY[:rows], tmp_path / "learned.png")
    assert (tmp_path / "learned.png").read_bytes().startswith(b"\x89PNG")


def test_the_eigenvalue_is_drawn_where_there_is_one():
    assert len(picture(HISTORY).axes) == 2
    rows = [{**row, "eigenvalue": 0.5 * row["epoch"], "stopped": None} for row in HISTORY]
    rows.append({**HISTORY[-1], "epoch": 4, "eigenvalue": None, "stopped": 2})  # after the end
    *_, plot = picture(rows).axes
    values, _, end = plot.lines
    assert list(values.get_xdata()) == [2, 3] and list(values.get_ydata()) == [1.0, 1.5]
    assert list(end.get_xdata()) == [2, 2] and "epoch 2 was taken" in plot.get_title()
    assert plot.get_xlim()[1] > 4
    *_, plot = picture(rows[:2]).axes
    assert len(plot.lines) == 2 and not plot.get_title()


def test_the_line_names_the_surest_choice_and_the_gap():
    line = collapse(HISTORY, [0.1, 0.2, 0.3])
    assert "mean entropy 0.60" in line and "surest choice a with 0.40" in line
    assert "1.30 times as likely" in line and "best of 3 drawn is 0.1000 above" in line
    assert "drawn" not in collapse(HISTORY, [])


def test_the_line_says_how_sharp_the_loss_became_and_where_it_ended():
    rows = [{**row, "eigenvalue": 0.5 * row["epoch"], "stopped": None} for row in HISTORY]
    assert "largest eigenvalue of the loss's Hessian from 1 to 1.5" in collapse(rows, [])
    rows[-1] |= {"eigenvalue": None, "stopped": 2}
    assert "from 1 to 1, so that the distribution of epoch 2 was taken" in collapse(rows, [])
