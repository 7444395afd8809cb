"""The order of channels: against every least squares written out."""

import torch

from yolo_nas_ext.host.transfer.importance import Reader, eliminate


def reader(inputs, weights):
    """What a layer with `weights` (outputs, n) makes of `inputs` (pixels, n)."""
    inputs = inputs - inputs.mean(0)
    covariance = inputs.T @ inputs / len(inputs)
    return Reader(covariance, weights.T @ weights, float((inputs @ weights.T).var(0).sum()))


def loss(inputs, weights, kept):
    """How much of a layer's outputs is lost at best with some of its inputs."""
    inputs = inputs - inputs.mean(0)
    wanted = inputs @ weights.T
    left = inputs[:, kept]
    return float((wanted - left @ torch.linalg.lstsq(left, wanted).solution).pow(2).sum())


def greedy(layers, n):
    """The channels in the order in which they go, each with the least loss by brute force."""
    gone, left = [], list(range(n))
    while len(left) > 1:
        costs = []
        for channel in left:
            kept = [c for c in left if c != channel]
            whole = [loss(x, w, kept) / float((x @ w.T).var(0).sum()) / len(x) for x, w in layers]
            costs.append((sum(whole), channel))
        gone.append(min(costs)[1])
        left.remove(gone[-1])
    return left + gone[::-1]


def drawn(seed, n=6, pixels=400):
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(n, n, generator=generator, dtype=torch.float64)
    inputs = torch.randn(pixels, n, generator=generator, dtype=torch.float64) @ mixed
    return inputs, torch.randn(5, n, generator=generator, dtype=torch.float64)


def test_the_order_is_that_of_least_squares_written_out(monkeypatch):
    monkeypatch.setattr("yolo_nas_ext.host.transfer.importance.RIDGE", 1e-12)
    for seed in range(4):
        inputs, weights = drawn(seed)
        assert eliminate([reader(inputs, weights)])[0] == greedy([(inputs, weights)], 6)


def test_several_layers_are_heard(monkeypatch):
    monkeypatch.setattr("yolo_nas_ext.host.transfer.importance.RIDGE", 1e-12)
    layers = [drawn(7), drawn(8)]
    assert eliminate([reader(*layer) for layer in layers])[0] == greedy(layers, 6)


def test_a_copy_of_another_channel_goes_first_and_a_read_one_stays():
    inputs, weights = drawn(1)
    inputs[:, 4] = inputs[:, 1]
    weights[:, 0] *= 100
    order, losses = eliminate([reader(inputs, weights)])
    assert order[-1] in (1, 4) and order[0] == 0
    assert losses[order[-1]] < 1e-3
