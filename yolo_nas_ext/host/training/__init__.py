"""Trainings by Ultralytics without what a short one does not need.

It may import what `host` may.
"""
