"""Drawing blood-smear-like images with boxes from a seed, to the last bit alike everywhere.

Every value comes from a per-image PCG64 stream of uniform numbers and from +, -, *, / and sqrt,
which IEEE 754 rounds the same everywhere; there is no sin, exp, sum or BLAS call whose last bit
depends on the processor. Longer than 300 lines because a field of view is one
drawing, cells, stains, lens and all.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

NAMES = ("red_cell", "platelet", "white_cell")
"""Class names by index, the most frequent first."""

VERSION = 1
"""Raised whenever a drawing changes, so that a cache of the older one is not taken for it."""

RED, PLATELET, WHITE = range(3)
Array = np.ndarray
Box = tuple[int, float, float, float, float]  # class, then x0, y0, x1, y1 in pixels


class Random:
    """Uniform numbers only: numpy promises the bit stream, not the recipes built on it."""

    def __init__(self, *seed: int) -> None:
        self._rng = np.random.Generator(np.random.PCG64(list(seed)))

    def between(self, low: float, high: float) -> float:
        """Return a number from `low` to `high`."""
        return low + (high - low) * float(self._rng.random())

    def chance(self, probability: float) -> bool:
        """Say yes with a probability."""
        return float(self._rng.random()) < probability

    def count(self, mean: float) -> int:
        """Return an integer of this mean, spread about half of it to either side."""
        return int(mean * self.between(0.5, 1.5) + float(self._rng.random()))

    def turn(self) -> tuple[float, float]:
        """Return the cosine and sine of an angle, without calling either."""
        while True:
            x, y = self.between(-1, 1), self.between(-1, 1)
            norm = x * x + y * y
            if 0.01 < norm < 1:
                return x / math.sqrt(norm), y / math.sqrt(norm)

    def grid(self, *shape: int) -> Array:
        """Return numbers from 0 to 1, as many as the shape has."""
        return self._rng.random(shape)


@dataclass(frozen=True, slots=True)
class _Blob:
    """A closed outline: a rotated ellipse with harmonics, in pixels.

    `waves` holds (k, cosine part, sine part): the radius is multiplied by 1 + their sum.
    """

    x: float
    y: float
    a: float
    b: float
    turn: tuple[float, float] = (1.0, 0.0)
    waves: tuple[tuple[int, float, float], ...] = ()

    def level(self, xs: Array, ys: Array) -> Array:
        """Return 0 at the centre, 1 on the outline; xs (1, w) and ys (h, 1) in pixels."""
        dx, dy, (c, s) = xs - self.x, ys - self.y, self.turn
        u, v = (dx * c + dy * s) / self.a, (dy * c - dx * s) / self.b
        rho = np.sqrt(u * u + v * v)
        if not self.waves:
            return rho
        safe = np.maximum(rho, 1e-6)
        cu, su = u / safe, v / safe
        ck, sk, radius = cu, su, np.ones_like(rho)
        for k in range(1, max(wave[0] for wave in self.waves) + 1):
            for wave, cosine, sine in self.waves:
                if wave == k:
                    radius = radius + cosine * ck + sine * sk
            ck, sk = ck * cu - sk * su, sk * cu + ck * su  # the angle's next multiple
        return rho / np.maximum(radius, 0.2)


def _soft(level: Array, reach: float, edge: float = 1.2) -> Array:
    """Return cover in [0, 1]: one half on the outline, falling over `edge` pixels."""
    t = np.clip((1.0 - level) * (reach / edge) + 0.5, 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


class Field:
    """A field of view: the light it lets through, (size, size, 3) RGB, and the boxes so far."""

    def __init__(self, size: int, rng: Random) -> None:
        self.size, self.rng = size, rng
        self.light = np.ones((size, size, 3))
        self.boxes: list[Box] = []

    def patch(self, blob: _Blob, margin: float = 1.5) -> tuple[Array, Array]:
        """Return pixel centres (1, w) and (h, 1) around a blob, also outside the image."""
        reach = max(blob.a, blob.b) * margin + 2.0
        xs = np.arange(int(blob.x - reach) - 1, int(blob.x + reach) + 2) + 0.5
        ys = np.arange(int(blob.y - reach) - 1, int(blob.y + reach) + 2) + 0.5
        return xs[None, :], ys[:, None]

    def absorb(
        self, xs: Array, ys: Array, cover: Array, colour: tuple[float, float, float]
    ) -> None:
        """Take the share `colour` (RGB) x `cover` (h, w) out of the light, inside the image."""
        left, top = int(xs[0, 0]) if xs[0, 0] > 0 else 0, int(ys[0, 0]) if ys[0, 0] > 0 else 0
        inside_x, inside_y = (
            (xs[0] > 0) & (xs[0] < self.size),
            (ys[:, 0] > 0) & (ys[:, 0] < self.size),
        )
        part = cover[inside_y][:, inside_x]
        height, width = part.shape
        passed = 1.0 - part[..., None] * np.array(colour)
        self.light[top : top + height, left : left + width] *= passed

    def label(self, name: int, xs: Array, ys: Array, inside: Array) -> None:
        """Add the tight box, pixel edges clipped to the image, of a mask (h, w)."""
        columns, rows = np.flatnonzero(inside.any(0)), np.flatnonzero(inside.any(1))
        x0, x1 = xs[0, columns[0]] - 0.5, xs[0, columns[-1]] + 0.5
        y0, y1 = ys[rows[0], 0] - 0.5, ys[rows[-1], 0] + 0.5
        x0, y0, x1, y1 = (min(max(float(v), 0.0), float(self.size)) for v in (x0, y0, x1, y1))
        if x1 - x0 >= 2 and y1 - y0 >= 2:
            self.boxes.append((name, x0, y0, x1, y1))

    def speckle(self, xs: Array, ys: Array, grain: int = 2) -> Array:
        """Return blotchy texture (h, w) in [0, 1] with grains of about `grain` pixels."""
        height, width = ys.shape[0], xs.shape[1]
        coarse = self.rng.grid(height // grain + 3, width // grain + 3)
        rows, columns = (np.arange(n) / grain + 0.5 for n in (height, width))
        top, left = rows.astype(int), columns.astype(int)
        down, right = (rows - top)[:, None], (columns - left)[None, :]
        coarse = coarse[top] * (1.0 - down) + coarse[top + 1] * down
        smooth = coarse[:, left] * (1.0 - right) + coarse[:, left + 1] * right
        return np.clip((smooth - 0.5) * 1.3 + 0.5, 0.0, 1.0)


def _blur(image: Array, passes: int) -> Array:
    """Return a (h, w, c) image after 1-2-1 passes each way; each adds 0.5 px^2 of variance."""
    for _ in range(passes):
        padded = np.pad(image, ((1, 1), (0, 0), (0, 0)), mode="edge")
        image = (padded[:-2] + padded[2:] + 2.0 * padded[1:-1]) * 0.25
        padded = np.pad(image, ((0, 0), (1, 1), (0, 0)), mode="edge")
        image = (padded[:, :-2] + padded[:, 2:] + 2.0 * padded[:, 1:-1]) * 0.25
    return image


def _waves(rng: Random, amounts: dict[int, float]) -> tuple[tuple[int, float, float], ...]:
    return tuple((k, rng.between(-a, a), rng.between(-a, a)) for k, a in amounts.items())


def _red(field: Field, x: float, y: float, r: float) -> None:
    """Draw a disc, pale in the middle; at times oval, spiky or without the pallor."""
    rng = field.rng
    stretch = rng.between(1.25, 1.6) if rng.chance(0.12) else rng.between(1.0, 1.14)
    amounts = {2: 0.03, 3: 0.025, 4: 0.015}
    if rng.chance(0.07):
        amounts = {3: 0.03, 9: 0.06}  # an echinocyte
    waves = _waves(rng, amounts)
    blob = _Blob(x, y, r * math.sqrt(stretch), r / math.sqrt(stretch), rng.turn(), waves)
    xs, ys = field.patch(blob)
    level = blob.level(xs, ys)
    pallor = rng.between(0.0, 0.15) if rng.chance(0.2) else rng.between(0.35, 0.8)
    rim = np.clip(level / rng.between(0.6, 0.85), 0.0, 1.0)
    thickness = 1.0 - pallor * (1.0 - rim * rim) * (1.0 - rim * rim)
    depth = rng.between(0.75, 1.15)
    colour = (0.10 * depth, rng.between(0.36, 0.44) * depth, rng.between(0.26, 0.34) * depth)
    if rng.chance(0.06):
        colour = (0.22 * depth, 0.40 * depth, 0.20 * depth)  # a young, bluish one
    field.absorb(xs, ys, _soft(level, r) * thickness, colour)
    field.label(RED, xs, ys, level <= 1.0)


def _platelet(field: Field, x: float, y: float, r: float) -> None:
    """Draw a small granular purple fragment with a paler rim."""
    rng = field.rng
    stretch = rng.between(1.0, 1.6)
    waves = _waves(rng, {2: 0.06, 3: 0.09, 5: 0.06})
    blob = _Blob(x, y, r * math.sqrt(stretch), r / math.sqrt(stretch), rng.turn(), waves)
    xs, ys = field.patch(blob)
    level = blob.level(xs, ys)
    core = 0.45 + 0.55 * np.clip(1.5 * (1.0 - level), 0.0, 1.0)
    grains = 0.65 + 0.5 * field.speckle(xs, ys, 1)
    depth = rng.between(0.55, 1.0)
    colour = (0.46 * depth, 0.60 * depth, 0.28 * depth)
    field.absorb(xs, ys, np.clip(_soft(level, r) * core * grains, 0, 1), colour)
    field.label(PLATELET, xs, ys, level <= 1.0)


def _white(field: Field, x: float, y: float, r: float) -> None:
    """Draw a large pale body with a dark nucleus: one round, or two to four lobes in a chain."""
    rng = field.rng
    waves = _waves(rng, {2: 0.04, 3: 0.04, 4: 0.03, 5: 0.02})
    blob = _Blob(x, y, r * rng.between(0.98, 1.1), r, rng.turn(), waves)
    xs, ys = field.patch(blob)
    level = blob.level(xs, ys)
    grains = field.speckle(xs, ys, 1)
    granular = rng.chance(0.65)
    depth = rng.between(0.7, 1.2)
    tint = (0.20, 0.30, 0.14) if granular else (0.30, 0.27, 0.08)
    body = _soft(level, r, 1.8) * (0.75 + (0.6 if granular else 0.25) * (grains - 0.3))
    field.absorb(xs, ys, np.clip(body, 0, 1), (tint[0] * depth, tint[1] * depth, tint[2] * depth))
    nucleus = np.zeros_like(level)
    if granular:
        c, s = rng.turn()
        lobes, bend = int(rng.between(2, 4.99)), rng.between(0.15, 0.6)
        for i in range(lobes):
            t = (
                (2.0 * i / (lobes - 1) - 1.0) * 0.48 * r
            )  # along the chain; the chain is a shallow arc
            off = bend * (t * t / (0.48 * r) - 0.2 * r) + rng.between(-0.06, 0.06) * r
            size = r * rng.between(0.30, 0.40)
            at = x + t * c - off * s, y + t * s + off * c
            lobe = _Blob(
                *at, size * rng.between(1.0, 1.25), size, rng.turn(), _waves(rng, {3: 0.06})
            )
            nucleus = np.maximum(nucleus, _soft(lobe.level(xs, ys), size, 1.6))
    else:
        size, shift = r * rng.between(0.66, 0.85), r * 0.1
        at = x + rng.between(-shift, shift), y + rng.between(-shift, shift)
        waves = _waves(rng, {1: 0.06, 2: 0.06, 3: 0.03})
        round_one = _Blob(*at, size * rng.between(1.0, 1.12), size, rng.turn(), waves)
        nucleus = _soft(round_one.level(xs, ys), size, 1.6)
    chromatin = 0.78 + 0.3 * (field.speckle(xs, ys, 2) - 0.3)
    colour = (rng.between(0.40, 0.56), rng.between(0.64, 0.76), rng.between(0.28, 0.38))
    field.absorb(xs, ys, np.clip(nucleus * chromatin, 0, 1), colour)
    field.label(WHITE, xs, ys, level <= 1.0)


def _distractors(field: Field, density: float) -> None:
    """Draw what a detector must learn to ignore: grains of stain, smudges, ghosts and a fibre."""
    rng, size = field.rng, field.size
    for _ in range(rng.count(1.2 * density)):  # stain, in small heaps near a platelet's size
        x, y = rng.between(0, size), rng.between(0, size)
        for _ in range(1 + rng.count(1.5)):
            at = x + rng.between(-4, 4), y + rng.between(-4, 4)
            blob = _Blob(*at, rng.between(0.6, 1.7), rng.between(0.6, 1.3), rng.turn())
            xs, ys = field.patch(blob)
            field.absorb(xs, ys, _soft(blob.level(xs, ys), 1.2, 0.9), (0.72, 0.78, 0.5))
    if rng.chance(0.3 * density):  # a smudged nucleus: purple, without an edge or a body
        r = rng.between(7, 13)
        waves = _waves(rng, {1: 0.2, 2: 0.2, 3: 0.15})
        blob = _Blob(
            rng.between(0, size), rng.between(0, size), r * 1.3, r * 0.8, rng.turn(), waves
        )
        xs, ys = field.patch(blob, 2.2)
        haze = _soft(blob.level(xs, ys), r, r) * (0.35 + 0.65 * field.speckle(xs, ys, 3))
        field.absorb(xs, ys, haze, (0.34, 0.42, 0.18))
    for _ in range(rng.count(0.5 * density)):  # ghosts: the outline of a burst red cell
        r = rng.between(7, 11)
        blob = _Blob(rng.between(0, size), rng.between(0, size), r, r * 0.9, rng.turn())
        xs, ys = field.patch(blob)
        level = blob.level(xs, ys)
        ring = _soft(level, r, 2.0) * np.clip(level * level, 0.0, 1.0)
        field.absorb(xs, ys, ring, (0.03, 0.11, 0.08))
    if rng.chance(0.1 * density):  # a fibre: a long thin bow
        x, y, (c, s) = rng.between(0, size), rng.between(0, size), rng.turn()
        long, bend = rng.between(20, 50), rng.between(-0.012, 0.012)
        grid = np.arange(size) + 0.5
        dx, dy = grid[None, :] - x, grid[:, None] - y
        along, across = dx * c + dy * s, dy * c - dx * s
        far = np.abs(across - bend * along * along)
        line = _soft(far, 1.0) * np.clip(3.0 * (1.0 - np.abs(along) / long), 0.0, 1.0)
        field.absorb(grid[None, :], grid[:, None], line, (0.40, 0.38, 0.30))


def _places(
    field: Field, wanted: list[tuple[int, float]], zoom: float
) -> list[tuple[int, float, float, float]]:
    """Return (class, x, y, radius): cells overlap a little and often touch, none hides another."""
    rng, size = field.rng, field.size
    taken: list[tuple[int, float, float, float]] = []
    for name, r in wanted:
        edge = 0.5 * r if name == PLATELET else -0.15 * r  # the border may cut a large cell in two
        for _ in range(30):
            near = [cell for cell in taken if cell[0] == name]
            if near and name != WHITE and rng.chance(0.4):  # red cells stick, platelets clump
                _, x, y, other = near[int(rng.between(0, len(near)))]
                reach, (c, s) = (r + other) * rng.between(0.68, 1.15), rng.turn()
                x, y = x + reach * c, y + reach * s
            else:
                x, y = rng.between(edge, size - edge), rng.between(edge, size - edge)
            if not (edge <= x <= size - edge and edge <= y <= size - edge):
                continue
            share, slack = (0.66, 0.0) if name == RED else (0.9, (name == PLATELET) * 1.5 * zoom)
            gaps = (
                ((x - u) * (x - u) + (y - v) * (y - v), share * (r + q) - slack)
                for _, u, v, q in taken
            )
            if all(square >= least * least for square, least in gaps):
                taken.append((name, x, y, r))
                break
    return taken


def _develop(field: Field) -> Array:
    """Return the (size, size, 3) uint8 RGB photograph: lamp, focus and sensor."""
    rng, size = field.rng, field.size
    grid = (np.arange(size) + 0.5) / size * 2.0 - 1.0
    xs, ys = grid[None, :], grid[:, None]
    c, s = rng.turn()
    x0, y0 = rng.between(-0.6, 0.6), rng.between(-0.6, 0.6)
    fall = rng.between(0.03, 0.14) * ((xs - x0) * (xs - x0) + (ys - y0) * (ys - y0))
    lamp = rng.between(0.80, 0.98) * (1.0 - fall + rng.between(0.0, 0.08) * (xs * c + ys * s))
    cast = np.array([rng.between(0.93, 1.0), rng.between(0.86, 0.97), rng.between(0.82, 1.0)])
    plasma = 1.0 - 0.05 * field.speckle(xs, ys, 8)
    image = field.light * (lamp * plasma)[..., None] * cast
    sharp = int(rng.between(0, 3.99)) if rng.chance(0.7) else int(rng.between(3, 7.99))
    image = _blur(image, sharp)
    if rng.chance(0.5):  # the slide is not level: focus fades to one side
        c, s = rng.turn()
        tilt = np.clip(0.5 + 0.5 * (xs * c + ys * s), 0.0, 1.0)[..., None]
        image = image * (1.0 - tilt) + _blur(image, int(rng.between(2, 6.99))) * tilt
    noise = rng.grid(size, size, 3) + rng.grid(size, size, 3) - 1.0
    image = image + noise * rng.between(0.008, 0.03)
    return np.floor(np.clip(image, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


DRAWERS: tuple[Callable[[Field, float, float, float], None], ...] = (_red, _platelet, _white)


def draw(*, size: int, seed: tuple[int, ...]) -> tuple[Array, list[Box]]:
    """Draw one field of view.

    Args:
        size: Side in pixels; below 160 the cells shrink with it, down to 0.6 of their size.
        seed: Integers that name the image; the same ones give the same pixels.

    Returns:
        The image, (size, size, 3) uint8 RGB, and a list of (class, x0, y0, x1, y1) in pixels. A box
        is tight around its cell before the lens blurs it, and clipped to the image.
    """
    rng = Random(*seed)
    field = Field(size, rng)
    zoom = min(max(size / 160.0, 0.6), 1.0)
    density = (size / (160.0 * zoom)) * (size / (160.0 * zoom))
    base = rng.between(9.0, 12.5) * zoom  # the magnification differs from slide to slide
    wanted = [(WHITE, base * rng.between(1.45, 1.95)) for _ in range(rng.count(0.75 * density))]
    wanted += [(RED, base * rng.between(0.82, 1.16)) for _ in range(rng.count(13.0 * density))]
    platelets = rng.count(2.6 * density)
    wanted += [(PLATELET, base * rng.between(0.2, 0.38)) for _ in range(platelets)]
    for name, x, y, r in _places(field, wanted, zoom):
        DRAWERS[name](field, x, y, r)
    _distractors(field, density)
    return _develop(field), field.boxes
