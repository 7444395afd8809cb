"""Definitions of models: what Ultralytics would evaluate in them is looked at first."""

import pytest

from yolo_nas_ext.errors import TrialError
from yolo_nas_ext.host import models
from yolo_nas_ext.host.models import build, costs

PLAIN = {
    "nc": 2,
    "backbone": [[-1, 1, "Conv", [8, 3, 2]], [-1, 1, "nn.Identity", []]],
    "head": [[[1], 1, "Detect", ["nc"]]],
}


@pytest.mark.parametrize(
    "text", ["nn.ReLU()", "torch.nn.LeakyReLU(0.1)", "nn.Hardtanh(-1, max_val=1.5)", " nn.SiLU() "]
)
def test_an_activation_is_a_layer_with_numbers(text):
    model = build({**PLAIN, "activation": text}, task="detect", ch=3, nc=2)
    assert type(model.model[0].act).__name__ in text


@pytest.mark.parametrize(
    "text",
    [
        "open({!r}, 'w')",
        "nn.ReLU(open({!r}, 'w'))",
        "nn.LeakyReLU(negative_slope=open({!r}, 'w'))",
        "[open({!r}, 'w'), nn.ReLU()][1]",
        "nn.modules.activation.F.torch.os.mkdir({!r})",
        "(lambda: open({!r}, 'w'))()",
        "nn.ReLU(*[open({!r}, 'w')])",
        "nn.Module.__init__.__globals__['os'].mkdir({!r})",
        "torch.os.mkdir({!r})",
        "nn.Linear(100000, 100000)",
        "(" * 5000,
    ],
)
@pytest.mark.parametrize("kind", [str, str.encode])
def test_nothing_else_is_evaluated(tmp_path, text, kind):
    text = kind(text.format(str(tmp_path / "marker")) if "{" in text else text)
    with pytest.raises(TrialError, match=r"activation: .* is no layer of torch.nn") as error:
        costs({**PLAIN, "activation": text}, nc=2, channels=3, imgsz=64)
    assert not (tmp_path / "marker").exists() and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name", ["check_requirements", "torch_safe_load", "DetectionModel", "nn.factory_kwargs", "Path"]
)
def test_a_row_is_of_a_layer(tmp_path, name):
    rows = [*PLAIN["backbone"][:1], [-1, 1, name, [str(tmp_path / "marker")]]]
    with pytest.raises(TrialError, match=f"a row names '{name}', which is no layer|KeyError"):
        build({**PLAIN, "backbone": rows}, task="detect", ch=3, nc=2)
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"backbone": [[-1, 10**9, "Conv", [8, 3, 2]]]},
        {"backbone": [[-1, 1, "Conv", [10**9, 3, 2]]]},
        {"backbone": [[-1, 1, "Conv", [8, 3, 2]]] * 300},
        {"backbone": [[-1, 1, "Conv", [8, 3, 2]], [-1, 100, "Conv", [30_000, 3, 1]]]},
        {"depth_multiple": 1e9},
        {"scales": {"n": [1e9, 1e9, 1e9]}},
    ],
    ids=str,
)
def test_a_network_larger_than_memory_is_not_built(change, monkeypatch):
    monkeypatch.setattr(models, "free_memory", lambda: 1_000_000_000)
    with pytest.raises(TrialError, match=r"rows, .* repeats|weights of .* GB are free"):
        build({**PLAIN, **change}, task="detect", ch=3, nc=2)
