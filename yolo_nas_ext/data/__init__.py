"""Pictures and labels: scans and COCO in, data sets on disk out; splits, names and augmentation.

It imports nothing of the package but `errors`, `files` and `console`.
"""
