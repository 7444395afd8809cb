"""The counterpart of each convolution of a network in another one, and the rule that found it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from yolo_nas_ext.host.transfer.convolutions import Convolved, Key, in_branch
from yolo_nas_ext.network.roles import BRANCHES, CLASSIFIER, PIXELS, Parts, shared, total

SAME, MANY, REPEAT, MAKE, LEVEL = (
    "the same place",
    "its one-to-many branch",
    "the repeat that matters more",
    "a block of similar make",
    "the nearest level",
)
RULES = (SAME, MANY, REPEAT, MAKE, LEVEL)
# Numbers of channels: (in the target, in the source).
Channels = tuple[torch.Tensor, torch.Tensor]
# For the role of a block without its row, the repeats of the source from the one that matters most.
Repeats = Mapping[tuple, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Counterpart:
    """What a convolution takes its weights from.

    Attributes:
        mine: The convolution.
        theirs: Its counterpart in the source.
        rule: How that was found.
        outs: Output channels that both have.
        ins: Input channels that both have; None of a depthwise convolution.
        lower: How many levels lower it is than its counterpart.
    """

    mine: Convolved
    theirs: Convolved
    rule: str
    outs: Channels
    ins: Channels | None
    lower: int = 0


def counterparts(
    mine: Mapping[Key, Convolved],
    theirs: Mapping[Key, Convolved],
    *,
    classes: Channels,
    boxes: Channels,
    alike: Mapping[str, bool],
    repeats: Repeats,
) -> dict[str, Counterpart]:
    """Return the counterparts of a network's convolutions by their names in it.

    Args:
        mine: Its convolutions by what they are for.
        theirs: Those of the source.
        classes: Class outputs that both have.
        boxes: Box outputs that both have.
        alike: For a purpose of the head whether its outputs mean the same in both.
        repeats: Of the source's blocks.
    """
    stayed = _stayed(mine, theirs)
    mine = {stayed.get(key, key): conv for key, conv in mine.items()}
    loose: dict[Key, Convolved] = {}
    for key, conv in theirs.items():
        loose.setdefault(_loosely(key), conv)
    found: dict[str, Counterpart] = {}
    for key, conv in mine.items():
        for rule, wanted in _ways(key, mine, theirs, repeats):
            other = (loose if rule in (MAKE, LEVEL) else theirs).get(wanted)
            if other is not None and conv.fits(other):
                break
        else:
            continue
        if conv.output in ("class", PIXELS, CLASSIFIER):
            outs = classes
        elif conv.output == "box":
            outs = boxes
        elif not alike.get(conv.output, True):
            continue
        else:
            outs = numbers(conv.parts.outputs, other.parts.outputs)
        ins = None
        if not conv.parts.depthwise:
            kept = _kept(key, mine, theirs, repeats) if rule == SAME else None
            ins = numbers(conv.parts.inputs, other.parts.inputs, kept)
            if key in stayed.values() and isinstance(conv.parts.inputs, int):
                ins = _of_the_backbone(conv.parts.inputs, other.parts.inputs)
        lower = wanted[0][1] - key[0][1] if rule == LEVEL else 0
        found[conv.name] = Counterpart(conv, other, rule, outs, ins, lower)
    return found


def _stayed(mine: Mapping[Key, Convolved], theirs: Mapping[Key, Convolved]) -> dict[Key, Key]:
    """Return keys of a block that stayed where the source's highest level is gone.

    A neck has no block on the way down at its highest level. The one that the source has there is
    then the backbone's last, so its keys here are to be those of the source.
    """
    roles = {role[:4] for role, _ in theirs}
    ours = {role[:3] for role, _ in mine}
    found = {}
    for role, path in mine:
        place = ("top-down", *role[1:3])
        if role[0] == "backbone" and role[2:3] == ("block",) and role[:4] not in roles:
            if place not in ours and place in {other[:3] for other in roles}:
                found[role, path] = ((*place, *role[4:]), path)
    return found


def _of_the_backbone(mine: int, theirs: Parts) -> Channels:
    """Return the channels of what a neck's block reads of the backbone, behind those from above."""
    if isinstance(theirs, int) or len(theirs) != 2:
        return numbers(mine, theirs)
    outs, ins = numbers(mine, theirs[1])
    return outs, ins + total(theirs[0])


def _ways(
    key: Key, mine: Mapping[Key, Convolved], theirs: Mapping[Key, Convolved], repeats: Repeats
) -> Iterator[tuple[str, Key]]:
    """Yield the rules by which a convolution can have a counterpart, the best first."""
    role, path = key
    if kept := _kept(key, mine, theirs, repeats):
        at = _repeat_at(path)
        if at is not None:
            steps = list(path)
            steps[at] = (str(kept[int(path[at][0])]), path[at][1])
            yield REPEAT, (role, tuple(steps))
    yield SAME, key
    many = in_branch(key, BRANCHES[0])
    if many != key:
        yield MANY, many
    yield MAKE, _loosely(key)
    yield MAKE, _loosely(many)
    for level in _near(role, theirs):
        yield LEVEL, _loosely(((role[0], level, *role[2:]), path))
        yield LEVEL, _loosely(((many[0][0], level, *many[0][2:]), path))


def _near(role: tuple, theirs: Mapping[Key, Convolved]) -> list[int]:
    """Return the source's levels of a role that it lacks at its own level, the nearest first."""
    if not isinstance(role[1], int):
        return []
    alike = {other[1] for other, _ in theirs if other[0] == role[0] and other[2:3] == role[2:3]}
    return sorted(alike - {role[1]}, key=lambda level: (abs(level - role[1]), level))


def _loosely(key: Key) -> Key:
    """Return a key that does not say of which types the modules on the way are."""
    role, path = key
    steps = [(name, "") for name, _ in path]
    return role, tuple(steps)


def _repeat_at(path: tuple[tuple[str, str], ...]) -> int | None:
    """Return where in a path the number of a block's repeat is."""
    for at, (name, _) in enumerate(path[:-1]):
        if name == "m" and path[at + 1][0].isdigit():
            return at + 1
    return None


def _count(role: tuple, every: Mapping[Key, Convolved]) -> int:
    """Return how many repeats the block with a role has."""
    numbers_ = {
        int(path[at][0])
        for other, path in every
        if other == role and (at := _repeat_at(path)) is not None
    }
    return len(numbers_)


def _kept(
    key: Key, mine: Mapping[Key, Convolved], theirs: Mapping[Key, Convolved], repeats: Repeats
) -> list[int] | None:
    """Return which repeats of the source a block with fewer of them keeps, in their order."""
    if (order := repeats.get(key[0])) is None:
        return None
    count = _count(key[0], mine)
    if not 0 < count < len(order) or _count(key[0], theirs) != len(order):
        return None
    return sorted(order[:count])


def numbers(mine: Parts, theirs: Parts, kept: list[int] | None = None) -> Channels:
    """Return the channels that two activations share.

    Args:
        mine: Make-up of the one.
        theirs: Make-up of the other.
        kept: Which of the last parts of the other the one has, where these are repeats' outputs.
    """
    pairs = shared(mine, theirs)
    if (
        kept is not None
        and isinstance(mine, tuple)
        and isinstance(theirs, tuple)
        and len(theirs) > len(mine)
    ):
        first = len(mine) - len(kept)  # parts that come before the repeats
        sizes = [total(part) for part in theirs]
        starts = [sum(sizes[:at]) for at in range(len(sizes))]
        order = [*range(first), *(first + at for at in kept)]
        if max(order) < len(theirs):
            pairs, here = [], 0
            for part, at in zip(mine, order, strict=True):
                pairs += [(here + i, starts[at] + j) for i, j in shared(part, theirs[at])]
                here += total(part)
    both = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def measured_repeats(
    model: nn.Module,
    convolutions: Mapping[Key, Convolved],
    run: Callable[[], object],
) -> dict[tuple, tuple[int, ...]]:
    """Return the repeats of each block from the one that matters most to the one that does least.

    A repeat matters as far as it turns its input: one minus the cosine of input and output, the
    influence by which layers of language models are left out (Men et al. 2024, arXiv:2403.03853).

    Args:
        model: Ultralytics' model.
        convolutions: Its convolutions by what they are for.
        run: Runs the model on images.
    """
    places: dict[tuple, set[str]] = {}
    for (role, path), conv in convolutions.items():
        at = _repeat_at(path)
        if at is not None:
            steps = conv.name.split(".")
            here = next(i for i in range(len(steps)) if steps[i] == "m" and steps[i + 1].isdigit())
            places.setdefault(role, set()).add(".".join(steps[: here + 2]))
    modules = dict(model.named_modules())
    turned: dict[str, list[float]] = {}

    def note(name: str, _: nn.Module, xs: tuple[torch.Tensor, ...], y: torch.Tensor) -> None:
        x = xs[0]
        if x.shape == y.shape:
            turned.setdefault(name, []).append(
                1 - float(nn.functional.cosine_similarity(x.flatten(), y.flatten(), 0))
            )

    hooks = [
        modules[name].register_forward_hook(partial(note, name))
        for names in places.values()
        if len(names) > 1
        for name in names
    ]
    run()
    for hook in hooks:
        hook.remove()
    found = {}
    for role, names in places.items():
        if len(names) > 1 and all(name in turned for name in names):
            ordered = sorted(names, key=lambda n: (-sum(turned[n]), n))
            found[role] = tuple(int(name.rpartition(".")[2]) for name in ordered)
    return found
