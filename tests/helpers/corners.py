"""A space of what the shipped ones do not have, for tests of compiled spaces."""

from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.space.parse import parse

# What the shipped spaces do not have: one level only, P6, kernels and attention in the neck, blocks
# whose hidden width is their width, a stage of stride 1 at its level's start of the neck.
CORNERS = {
    "stem": {"width": [8, 16], "kernel": [3, 5, 1]},
    "stages": {
        "p2": {
            "down": ["adown", "aconv"],
            "block": ["repc3", "hgblock"],
            "width": [16, 24],
            "expansion": [0.5, 1],
            "depth": [1, 3],
        },
        "p3": {"down": "scdown", "block": ["elan", "ghost"], "width": [24, 48], "down_width": 0.5},
        "p3b": {
            "stride": 1,
            "block": ["kxkx", "c3k2_c3k"],
            "kernel": [5, 7],
            "width": [32, 64],
            "hidden": [16, 32, 64],
        },
        "p4": {"block": ["c2fcib", "c2f"], "width": [64, 136], "kernel": [3, 7]},
        "p5": {"block": ["c3"], "width": [64, 144], "expansion": [0.25, 0.7]},
        "p6": {"block": ["c3k2"], "width": [64, 200]},
    },
    "context": ["none", "sppf_add", "sppf+c2psa", "c2psa"],
    "levels": ["3-3", "4-4", "3-4", "2-5:3-4", "3-6", "2-6:2-4"],
    "neck": {
        "block": ["c2fcib", "c3k2"],
        "top": ["same", "c3k2_attn", "hgblock"],
        "width": [32, 64],
        "growth": [1, 1.5, 2],
        "kernel": [3, 7],
        "expansion": [0.25, 0.5],
    },
    "head": {"reg_max": [1, 16], "end2end": [False, True]},
    "rules": {"nondecreasing": ["width"], "hidden": [0.2, 1.5]},
    "mutation": {"moves": 3, "width": {"scale": [2, 0.5]}, "depth": {"step": [-1, 1]}},
}


def load(name):
    if name == "corners":
        return DetectorSpace(parse(CORNERS, "corners", "corners"))
    return DetectorSpace.load(name)
