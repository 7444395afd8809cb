"""The layers of each module of Ultralytics, in the order of its forward pass.

A module's arguments are those of its YAML row, without the input channels that Ultralytics puts in
front; `n` is the row's repeat count, for modules that take it as an argument.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from yolo_nas_ext.errors import NASError
from yolo_nas_ext.network import timm_backbones
from yolo_nas_ext.network.graph import Graph, Tensor
from yolo_nas_ext.network.rows import Row


def _conv(g: Graph, x: Tensor, n: int, c: int, k: int = 1, s: int = 1, p=None, groups=1) -> Tensor:
    return g.conv(x, c, k, s, groups or 1, pad=p)


def _focus(g: Graph, x: Tensor, n: int, c: int, k: int = 1) -> Tensor:
    quarter = g.concat([x._replace(h=x.h // 2, w=x.w // 2)] * 4)
    return g.conv(quarter, c, k)


def _bottleneck(
    g: Graph, x: Tensor, n: int, c: int, shortcut=True, groups=1, k=(3, 3), e: float = 0.5
) -> Tensor:
    y = g.conv(g.conv(x, int(c * e), _side(k[0])), c, _side(k[1]), 1, groups)
    return g.add(x, y) if shortcut and x.c == c else y


def _side(k: Any) -> int:
    """Return the side of a square kernel that Ultralytics may write as a pair."""
    return k if isinstance(k, int) else k[0]


def _c2f(
    g: Graph, x: Tensor, n: int, c: int, shortcut=False, groups=1, e: float = 0.5, *, inner=None
) -> Tensor:
    hidden = int(c * e)
    inner = inner or (lambda t: _bottleneck(g, t, 1, hidden, shortcut, groups, (3, 3), 1.0))
    y = g.split(g.conv(x, 2 * hidden), hidden, hidden)
    for _ in range(n):
        y.append(inner(y[-1]))
    return g.conv(g.concat(y), c)


def _c3k2(
    g: Graph,
    x: Tensor,
    n: int,
    c: int,
    c3k=False,
    e: float = 0.5,
    attn=False,
    groups=1,
    shortcut=True,
) -> Tensor:
    hidden = int(c * e)

    def inner(t: Tensor) -> Tensor:
        if attn:
            t = _bottleneck(g, t, 1, hidden, shortcut, groups)
            return _psa_block(g, t)
        if c3k:
            return _c3(g, t, 2, hidden, shortcut, groups, 0.5, k=(3, 3))
        return _bottleneck(g, t, 1, hidden, shortcut, groups)

    return _c2f(g, x, n, c, shortcut, groups, e, inner=inner)


def _c2fcib(
    g: Graph, x: Tensor, n: int, c: int, shortcut=False, lk=False, groups=1, e: float = 0.5
) -> Tensor:
    hidden = int(c * e)

    def inner(t: Tensor) -> Tensor:
        y = g.conv(g.conv(t, t.c, 3, 1, t.c), 2 * hidden)
        if lk:
            wide = g.conv(y, y.c, 7, 1, y.c, act=False)
            y = g.act(g.add(wide, g.conv(y, y.c, 3, 1, y.c, act=False)))
        else:
            y = g.conv(y, y.c, 3, 1, y.c)
        y = g.conv(y, hidden)
        y = g.conv(y, hidden, 3, 1, hidden)
        return g.add(t, y) if shortcut else y

    return _c2f(g, x, n, c, shortcut, groups, e, inner=inner)


def _c3(
    g: Graph,
    x: Tensor,
    n: int,
    c: int,
    shortcut=True,
    groups=1,
    e: float = 0.5,
    *,
    k=(1, 3),
    inner=None,
) -> Tensor:
    hidden = int(c * e)
    inner = inner or (lambda t: _bottleneck(g, t, 1, hidden, shortcut, groups, k, 1.0))
    y = g.conv(x, hidden)
    for _ in range(n):
        y = inner(y)
    return g.conv(g.concat([y, g.conv(x, hidden)]), c)


def _c3ghost(
    g: Graph, x: Tensor, n: int, c: int, shortcut=True, groups=1, e: float = 0.5
) -> Tensor:
    hidden = int(c * e)

    def ghost(t: Tensor, out: int, act: bool) -> Tensor:
        y = g.conv(t, out // 2, act=act)
        return g.concat([y, g.conv(y, y.c, 5, 1, y.c, act=act)])

    def inner(t: Tensor) -> Tensor:
        return g.add(ghost(ghost(t, hidden // 2, True), hidden, False), t)

    return _c3(g, x, n, c, shortcut, groups, e, inner=inner)


def _repconv(g: Graph, x: Tensor, c: int, k: int = 3) -> Tensor:
    return g.act(g.add(g.conv(x, c, k, act=False), g.conv(x, c, 1, act=False)))


def _repc3(g: Graph, x: Tensor, n: int, c: int, e: float = 1.0) -> Tensor:
    hidden = int(c * e)
    y = g.conv(x, hidden)
    for _ in range(n):
        y = _repconv(g, y, hidden)
    y = g.add(y, g.conv(x, hidden))
    return g.conv(y, c) if hidden != c else y


def _elan4(g: Graph, x: Tensor, n: int, c: int, c3: int, c4: int, depth: int = 1) -> Tensor:
    def repcsp(t: Tensor) -> Tensor:
        half = int(c4 * 0.5)

        def inner(u: Tensor) -> Tensor:
            return g.add(u, g.conv(_repconv(g, u, half), half, 3))

        return g.conv(_c3(g, t, depth, c4, inner=inner), c4, 3)

    y = g.split(g.conv(x, c3), c3 // 2, c3 // 2)
    y.append(repcsp(y[-1]))
    y.append(repcsp(y[-1]))
    return g.conv(g.concat(y), c)


def _hgblock(
    g: Graph, x: Tensor, n: int, hidden: int, c: int, k: int = 3, light=False, shortcut=False
) -> Tensor:
    y = [x]
    for _ in range(n):
        t = y[-1]
        if light:
            t = g.conv(g.conv(t, hidden, act=False), hidden, k, 1, hidden)
        else:
            t = g.conv(t, hidden, k)
        y.append(t)
    out = g.conv(g.conv(g.concat(y), c // 2), c)
    return g.add(out, x) if shortcut and x.c == c else out


def _scdown(g: Graph, x: Tensor, n: int, c: int, k: int, s: int) -> Tensor:
    return g.conv(g.conv(x, c), c, k, s, c, act=False)


def _aconv(g: Graph, x: Tensor, n: int, c: int) -> Tensor:
    return g.conv(g.pool(x, 2, 1, 0), c, 3, 2)


def _adown(g: Graph, x: Tensor, n: int, c: int) -> Tensor:
    a, b = g.split(g.pool(x, 2, 1, 0), x.c // 2, x.c // 2)
    return g.concat([g.conv(a, c // 2, 3, 2), g.conv(g.pool(b, 3, 2, 1), c // 2)])


def _sppf(
    g: Graph, x: Tensor, n: int, c: int, k: int = 5, pools: int = 3, shortcut=False
) -> Tensor:
    y = [g.conv(x, x.c // 2)]
    for _ in range(pools):
        y.append(g.pool(y[-1], k))
    out = g.conv(g.concat(y), c)
    return g.add(out, x) if shortcut and x.c == c else out


def _psa_block(g: Graph, x: Tensor) -> Tensor:
    heads, pixels = max(x.c // 64, 1), x.h * x.w
    head = x.c // heads
    key = int(head * 0.5)
    qkv = g.conv(x, x.c + 2 * key * heads, act=False)
    q, k, v = g.heads(qkv, heads, key, key, head)
    scores = g.matmul(q, k, heads, pixels, pixels, key)
    values = g.matmul(v, scores, x.c, x.h, x.w, pixels)
    position = g.conv(v, x.c, 3, 1, x.c, act=False)
    x = g.add(x, g.conv(g.add(values, position), x.c, act=False))
    return g.add(x, g.conv(g.conv(x, 2 * x.c), x.c, act=False))


def _c2psa(g: Graph, x: Tensor, n: int, c: int, e: float = 0.5) -> Tensor:
    hidden = int(c * e)
    a, b = g.split(g.conv(x, 2 * hidden), hidden, hidden)
    for _ in range(n):
        b = _psa_block(g, b)
    return g.conv(g.concat([a, b]), c)


def _mbconv(g: Graph, x: Tensor, n: int, c: int, k: int, s: int, hidden: int) -> Tensor:
    for index in range(n):
        y = g.conv(g.conv(x, hidden), hidden, k, 1 if index else s, hidden)
        gate = g.conv(g.squeeze(y), max(1, x.c // 4), norm=False, bias=True)
        y = g.scale(y, g.conv(gate, hidden, norm=False, bias=True))
        y = g.conv(y, c, act=False)
        x = g.add(x, y) if x.c == c and (index or s == 1) else y
    return x


Lowering = Callable[..., Tensor]
# Modules that take the row's repeat count themselves; the others are repeated as a whole.
REPEATED = {"C2f", "C3k2", "C2fCIB", "C3", "C3Ghost", "RepC3", "C2PSA", "HGBlock", "MBConv"}
MODULES: dict[str, Lowering] = {
    "Conv": _conv,
    "Focus": _focus,
    "Bottleneck": _bottleneck,
    "C2f": _c2f,
    "C3k2": _c3k2,
    "C2fCIB": _c2fcib,
    "C3": _c3,
    "C3Ghost": _c3ghost,
    "RepC3": _repc3,
    "RepNCSPELAN4": _elan4,
    "HGBlock": _hgblock,
    "SCDown": _scdown,
    "AConv": _aconv,
    "ADown": _adown,
    "SPPF": _sppf,
    "C2PSA": _c2psa,
    "MBConv": _mbconv,
    "Timm": timm_backbones.run,
    "Index": timm_backbones.pick,
}
# Any of these in a model makes Ultralytics build its newer head.
LIGHT_HEAD = {"C3k2", "A2C2f", "C2fCIB"}


def is_legacy(rows: Sequence[Row]) -> bool:
    """Say whether Ultralytics builds its older head for these rows."""
    return not any(module in LIGHT_HEAD for _, _, module, _ in rows)


@cache
def _arguments(module: str) -> tuple[str, ...]:
    """Return the arguments of a module's rows whose costs are known, in order."""
    _, _, _, *own = inspect.signature(MODULES[module]).parameters.values()
    return tuple(p.name for p in own if p.kind is p.POSITIONAL_OR_KEYWORD)


def forward(
    graph: Graph, module: str, n: int, args: tuple[Any, ...], xs: tuple[Tensor, ...]
) -> Tensor:
    """Run a row other than the head's and return its output.

    Raises:
        NASError: For a module without an entry in `MODULES`, and more arguments than that knows.
    """
    if module == "Concat":
        return graph.concat(xs)
    if module == "nn.Upsample":
        return graph.upsample(xs[0], args[1])
    if module not in MODULES:
        raise NASError(f"module '{module}' has no layer table; known: {', '.join(sorted(MODULES))}")
    known = _arguments(module)
    if len(args) > len(known):
        raise NASError(
            f"{module} has the arguments {args}, and its costs are known for {', '.join(known)} "
            f"alone; leave out argument {len(known) + 1}, {args[len(known)]!r}"
        )
    y = xs[0]
    repeats = 1 if module in REPEATED else n
    for _ in range(repeats):
        y = MODULES[module](graph, y, n, *args)
    return y
