"""Scans in: NIfTI, NRRD and DICOM with their masks become a YOLO data set.

It may import the rest of `data`.
"""
