"""An RT-DETR small enough to be trained by a test."""

SMALL = {
    "nc": 2,
    "backbone": [
        [-1, 1, "Conv", [16, 3, 2]],
        [-1, 1, "Conv", [16, 3, 2]],
        [-1, 1, "Conv", [32, 3, 2]],
        [-1, 1, "Conv", [32, 3, 2]],
        [-1, 1, "Conv", [32, 3, 2]],
    ],
    "head": [[[2, 3, 4], 1, "RTDETRDecoder", ["nc", 32, 40, 2, 2, 1, 64]]],
}
