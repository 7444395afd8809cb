import pytest

from yolo_nas_ext.config.compare import CompareSettings
from yolo_nas_ext.config.extract import ExtractSettings
from yolo_nas_ext.config.fields import flag, one_of, path, size, whole
from yolo_nas_ext.config.rules import RULES
from yolo_nas_ext.config.scale import ScaleSettings
from yolo_nas_ext.config.search import MOST, SearchSettings
from yolo_nas_ext.config.settings import keys, read
from yolo_nas_ext.console import aligned
from yolo_nas_ext.errors import NASError


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


NO_LIMITS = (
    "",
    "  ",
    0,
    "0",
    "0.0K",
    -1,
    "-5",
    "x",
    True,
    float("nan"),
    float("inf"),
    "1e999",
    [8],
)


@pytest.mark.parametrize("value", NO_LIMITS)
@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (SearchSettings, (*MOST, "budget_hours", "timeout")),
        (ExtractSettings, ("max_latency", "max_flops", "max_params")),
        (CompareSettings, ("timeout",)),
    ],
)
def test_a_limit_that_is_none_is_refused_in_a_line(kind, names, value):
    for name in names:
        with pytest.raises(
            NASError, match=f"^{name}=.*: not allowed; {name} takes a .*number"
        ) as e:
            read(kind, {name: value})
        assert "\n" not in str(e.value)


def test_a_limit_is_a_number_or_the_word_none():
    assert read(SearchSettings, {"max_latency": "8", "max_flops": "2.5G"}).max_latency == 8
    assert read(SearchSettings, {"max_latency": None}).max_latency is None  # as none is read


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (SearchSettings, {"limits": ""}),
        (SearchSettings, {"limits": "latency_ms:"}),
        (SearchSettings, {"limits": "latency_ms:1e999"}),
        (SearchSettings, {"limits": {"latency_ms": None}}),
        (ScaleSettings, {"flops": "0x"}),
        (ScaleSettings, {"flops": ".G"}),
    ],
)
def test_bounds_and_budgets_that_are_none_are_refused(kind, given):
    with pytest.raises(NASError, match="not allowed"):
        read(kind, given)
