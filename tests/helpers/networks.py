"""Choices of the space `tiny` that make a network which trains in no time."""

SMALL = {
    "stem.width": 8,
    "p2.block": "c2f",
    "p2.width": 16,
    "p3.block": "c2f",
    "p3.width": 32,
    "p4.block": "c2f",
    "p4.width": 64,
    "context": "none",
    "neck.width": 32,
}
