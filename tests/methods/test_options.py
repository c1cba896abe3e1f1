import numpy as np
import pytest

from wel.errors import UnsupportedError, WelError
from wel.methods.options import described, settle_options
from wel.methods.registry import METHODS

IMAGES = np.stack([np.full((2, 2, 3), -1.0), np.full((2, 2, 3), 3.0)]).astype("float32")


def settled(method, **given):
    return settle_options(METHODS[method], given, IMAGES)


def test_deep_taylor_takes_the_range_of_the_images_unless_it_is_given():
    assert settled("deep_taylor") == {"low": -1.0, "high": 3.0, "stabilizer": 0.0}
    assert settled("deep_taylor", low=-5) == {"low": -5.0, "high": 3.0, "stabilizer": 0.0}


@pytest.mark.parametrize(
    "method, given",
    [
        ("deep_taylor", {"low": 5, "high": 1}),
        ("deep_taylor", {"low": float("nan")}),
        ("rectgrad", {"percentile": 101}),
        ("rectgrad", {"percentile": "98"}),
        ("lrp_epsilon", {"epsilon": 0}),
        ("lrp_alpha1_beta0", {"stabilizer": -1e-6}),
        ("lrp_gamma", {"gamma": -0.1}),
        ("lrp_gamma", {"bias": "without"}),
        ("integrated_gradients", {"rule": "right"}),
        ("gradient", {"epsilon": 1.0}),
        ("deeplift_rescale", {"reference": "grey"}),
        ("deeplift_rescale", {"reference": [1.0, 2.0]}),
    ],
)
def test_a_value_that_an_option_cannot_take_is_one_sentence(method, given):
    with pytest.raises(WelError, match="Invalid value for `"):
        settled(method, **given)


def test_the_reference_is_zero_the_mean_a_colour_or_an_image():
    def reference(value):
        return settled("deeplift_rescale", reference=value)["reference"]

    np.testing.assert_array_equal(settled("deeplift_rescale")["reference"], np.zeros((2, 2, 3)))
    np.testing.assert_array_equal(reference("mean"), np.ones((2, 2, 3)))  # (−1 + 3) / 2
    np.testing.assert_array_equal(reference((1, 2, 3))[1, 0], [1, 2, 3])
    np.testing.assert_array_equal(reference(IMAGES[1]), IMAGES[1])


def test_patterns_have_to_be_given():
    with pytest.raises(UnsupportedError, match="needs patterns"):
        settled("pattern_net")
    assert [array.dtype for array in settled("pattern_net", patterns=[np.ones(2), np.ones(3)])["patterns"]] == ["float32"] * 2


def test_arrays_are_described_by_their_hash():
    one, other = (described(settled("pattern_net", patterns=[np.full(2, value)])) for value in (1.0, 2.0))
    assert len(one["patterns"]) == 64 and one != other
    assert described({"low": 1.0}) == {"low": 1.0}
