"""COCO in: a JSON of annotations becomes a YOLO data set, or a part of one.

It may import the rest of `data`.
"""
