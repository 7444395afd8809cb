"""Comparing models: definitions, trained with one schedule, and models that are trained already.

It may import `config`, `cost`, `data`, `estimators`, `host`, `metrics`, `report`, `run_dir` and
`study`.
"""
