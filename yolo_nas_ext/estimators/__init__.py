"""HOW good it is: performance estimation by trainings, shared weights or scores.

It may import `config`, `cost`, `data`, `host`, `metrics`, `network`, `plugins` and `space`;
`factory.ESTIMATORS` names what there is.
"""
