import numpy as np
import pytest
from conftest import loaded

from wel.errors import WelError
from wel.studies.reference import Reference
from wel.studies.verification import COLUMNS, csc_median, relative_l2, verify

pytestmark = pytest.mark.wrapped


@pytest.fixture(scope="module")
def net(functional):
    return loaded(functional)


@pytest.fixture
def file(net, images, tmp_path):
    found = verify(net, images[:2], ["gradient", "lrp_alpha1_beta0"], backends=["wrapped"], save=tmp_path / "numbers.npz")
    assert found.table.empty
    return tmp_path / "numbers.npz"


def test_relative_l2_by_hand():
    # ‖(3, 4) − (0, 4)‖ / ‖(0, 4)‖ = 3 / 4; entries that are not finite in one of them are left out
    assert relative_l2(np.array([3.0, 4.0, np.nan]), np.array([0.0, 4.0, 1.0])) == 0.75
    assert relative_l2(np.zeros(2), np.zeros(2)) == 0.0
    assert relative_l2(np.array([0.0, 2.0]), np.zeros(2)) == 2.0


def test_csc_median_by_hand():
    # pairs (1,0)·(0,1) = 0, (1,0)·(1,1)/√2 = 0.7071, (0,1)·(1,1)/√2 = 0.7071; a zero vector's pairs are dropped
    vectors = np.array([[[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]])
    np.testing.assert_allclose(csc_median(vectors), np.sqrt(0.5))
    assert np.isnan(csc_median(np.zeros((1, 3, 2))))


def test_saved_numbers_are_found_again(net, file):
    found = verify(net, backends=["wrapped"], original=file)
    assert list(found.table.columns) == COLUMNS
    assert found.passed and found.left_out == {}
    assert set(found.table["method"]) == {"gradient", "lrp_alpha1_beta0"}
    assert found.table["relative_l2"].max() <= 1e-6


def test_other_numbers_do_not_pass_and_the_layer_is_named(net, file):
    known = Reference.load(file)
    key = next(iter(known.relevance))
    known.relevance[key][:] *= 1.01  # ‖a − 1.01 a‖ / ‖1.01 a‖ = 0.0099, ten times the tolerance of one-term methods
    known.save(file)
    found = verify(net, backends=["wrapped"], original=file)
    wrong = found.table[~found.table["passed"]]
    assert not found.passed
    assert list(zip(wrong["method"], wrong["layer"])) == [(key[0], net.shown(key[2]))]
    np.testing.assert_allclose(wrong["relative_l2"], 0.01 / 1.01, rtol=1e-3)


def test_nan_equals_nan_only(net, file):
    known = Reference.load(file)
    key = next(iter(known.relevance))
    known.relevance[key].flat[0] = np.nan
    known.save(file)
    table = verify(net, backends=["wrapped"], original=file).table
    assert table["nan_mismatches"].tolist() == [1] + [0] * (len(table) - 1)
    assert not table["passed"].iloc[0]


def test_methods_are_chosen_from_the_file(net, file):
    assert set(verify(net, methods="gradient", backends=["wrapped"], original=file).table["method"]) == {"gradient"}
    with pytest.raises(WelError, match="Invalid value for `methods`"):
        verify(net, methods="rectgrad", backends=["wrapped"], original=file)


def test_what_a_backend_cannot_compute_is_left_out_with_the_reason(net, images):
    found = verify(net, images[:1], ["deeplift_rescale", "gradient"], backends=["innvestigate", "wrapped"])
    assert ("deeplift_rescale", "innvestigate") in found.left_out
    assert set(found.table["method"]) == {"gradient"}


def test_one_backend_and_no_file_is_refused(net, images):
    with pytest.raises(WelError, match="Invalid value for `backends`"):
        verify(net, images, backends=["wrapped"])


def test_a_file_of_other_weights_is_refused(file, sequential):
    with pytest.raises(WelError, match="made with other weights"):
        verify(loaded(sequential), backends=["wrapped"], original=file)
