"""What a comparison leaves is safe to open, whatever models are called."""

from yolo_nas_ext.compare import outputs
from yolo_nas_ext.report import comparison_page as page
from yolo_nas_ext.study.leaderboard import Evaluation, Leaderboard, Model

HOSTILE = "<script>alert(1)</script>\"'&|"


def test_a_hostile_name_is_text():
    models = [Model(HOSTILE), Model("yolo", baseline=True)]
    evaluations = [
        Evaluation(HOSTILE, 0, 0.3),
        Evaluation("yolo", 0, 0.2),
        Evaluation("yolo", 1, float("nan"), 1, f"error: {HOSTILE}"),
    ]
    found = Leaderboard(models, evaluations, metric=HOSTILE)
    html = page.page(found, title=HOSTILE, protocol={HOSTILE: HOSTILE}, command=HOSTILE)
    assert html.count("<script>") == 1 and "alert(1)" in html  # our own, and shown as text
    assert "&lt;script&gt;alert(1)" in html
    text = outputs.markdown(found, "title", {})
    assert "&\\|" in text and "default-src &#39;none&#39;" in html


def test_the_page_of_nothing_yet():
    html = page.page(Leaderboard([Model("a")], []), title="t", protocol={})
    assert "No training has ended yet" in html and "<svg" not in html
