import pytest

from yolo_nas_ext.config.fields import flag, one_of, path, size, whole
from yolo_nas_ext.config.rules import RULES
from yolo_nas_ext.config.settings import keys
from yolo_nas_ext.console import aligned


@pytest.mark.parametrize(
    ("parse", "value", "allowed"),
    [
        (whole(0), -1, "a whole number of 0 or more"),
        (whole(0), 2**40, "a whole number of 0 to 2147483647"),
        (whole(1, 4), 1.5, "a whole number of 1 to 4"),
        (size, 10**6, "a multiple of 32 up to 16384, for example 128 or 640"),
        (flag, "yes", "True or False"),
        (one_of("axial", "coronal"), "axil", "one of axial, coronal. Did you mean 'axial'?"),
        (path, ["a"], "a path"),
    ],
)
def test_a_bad_value_says_what_is_allowed(parse, value, allowed):
    with pytest.raises(ValueError) as caught:
        parse(value)
    assert str(caught.value) == allowed


@pytest.mark.parametrize("kind", RULES, ids=lambda kind: kind.__name__)
def test_no_number_is_beyond_what_a_machine_has(kind):
    for name, key in keys(kind).items():
        if key.kind == "int":
            for value in (10**12, 1e300):
                with pytest.raises(ValueError):
                    key.parse(value)
        elif name in ("timeout", "budget_hours", "minutes", "cpus_per_trial", "gpus_per_trial"):
            with pytest.raises(ValueError, match="at most"):
                key.parse(1e300)
        if name in ("threads", "jobs", "workers", "latency_threads"):
            with pytest.raises(ValueError, match="1 to 1024"):
                key.parse(10**9)


def test_a_table_is_aligned():
    assert aligned([["model", "AP"], ["a", "0.1000"]]) == "model      AP\na      0.1000"
