"""Metrics that Ultralytics lacks: FROC, Dice, COCO's twelve numbers, and intervals by bootstrap.

It may import `data`.
"""
