"""A search as Ultralytics' users write it in Python: `YOLO.nas_search`, its result and its events.

It may import `config`, `host`, `pipeline`, `report` and `study`.
"""
