from yolo_nas_ext.estimators.training import localisation


def test_the_branch_that_compares_is_taken():
    plain = {"loss_box": 3.0, "loss_cls": 1.0, "val_loss_box": 2.0}
    assert localisation(plain) == -3.0 and localisation(plain, "val_loss") == -2.0
    assert localisation({**plain, "loss_many_box": 4.0}) == -4.0
    assert localisation({"loss_a": 1.0, "loss_b": 2.0, "fitness": 9.0, "val_loss_a": 5.0}) == -3.0
