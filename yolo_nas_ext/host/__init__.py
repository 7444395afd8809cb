"""The only folder that imports Ultralytics, which hosts what is found here.

It may import `cost`, `data`, `network` and `space`.
"""
