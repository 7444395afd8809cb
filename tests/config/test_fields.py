import pytest

from yolo_nas_ext.config.fields import flag, one_of, path, whole
from yolo_nas_ext.console import aligned


@pytest.mark.parametrize(
    ("parse", "value", "allowed"),
    [
        (whole(0), -1, "a whole number of 0 or more"),
        (flag, "yes", "True or False"),
        (one_of("axial", "coronal"), "axil", "one of axial, coronal. Did you mean 'axial'?"),
        (path, ["a"], "a path"),
    ],
)
def test_a_bad_value_says_what_is_allowed(parse, value, allowed):
    with pytest.raises(ValueError) as caught:
        parse(value)
    assert str(caught.value) == allowed


def test_a_table_is_aligned():
    assert aligned([["model", "AP"], ["a", "0.1000"]]) == "model      AP\na      0.1000"
