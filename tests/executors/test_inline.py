import pytest

from yolo_nas_ext.errors import RunError, TrialError
from yolo_nas_ext.executors.inline import Inline
from yolo_nas_ext.study.trial import Trial


def test_nothing_is_tried_by_a_process_that_can_use_its_gpu_no_more():
    def estimate(trial, report):
        raise TrialError("device", "CUDA error: an illegal memory access was encountered")

    here = Inline(estimate)
    here.submit(Trial(0, None))
    assert here.wait(lambda *_: False).error.startswith("device: CUDA error")
    here.submit(Trial(1, None))
    with pytest.raises(RunError, match=r"illegal memory access.*can use the GPU no more: resume"):
        here.wait(lambda *_: False)
