import numpy as np
import pytest

from wel.errors import WelError
from wel.networks.network import Network
from wel.studies.reference import Reference


def reference(net, **changes):
    rng = np.random.default_rng(0)
    parts = {
        "images": rng.random((1, 8, 8, 3), dtype="float32"),
        "logits": rng.random((1, 4), dtype="float32"),
        "vectors": {"inner/a%b": rng.random((1, 2, 4), dtype="float32")},
        "weights": net.weight_hashes(),
        "relevance": {("gradient", "inner/a%b", "x/y"): rng.random((1, 2, 3), dtype="float32")},
        "options": {"pattern_net": {"patterns": [np.ones((2, 2)), np.zeros(3)]}, "deep_taylor": {"low": -1.0, "high": 1.0}},
        "semantics": "paper",
        "made_by": "a test",
    }
    return Reference(**{**parts, **changes})


def test_a_file_gives_back_what_was_saved(tmp_path, functional):
    saved = reference(Network(functional, "functional"))
    saved.save(tmp_path / "numbers.npz")
    found = Reference.load(tmp_path / "numbers.npz")
    assert found.pairs == [("gradient", "inner/a%b")]
    assert found.layers("gradient", "inner/a%b") == ["x/y"]
    np.testing.assert_array_equal(found.relevance["gradient", "inner/a%b", "x/y"], saved.relevance["gradient", "inner/a%b", "x/y"])
    np.testing.assert_array_equal(found.vectors["inner/a%b"], saved.vectors["inner/a%b"])
    assert found.weights == saved.weights
    assert found.options["deep_taylor"] == {"low": -1.0, "high": 1.0}
    assert [array.shape for array in found.options["pattern_net"]["patterns"]] == [(2, 2), (3,)]
    assert (found.semantics, found.made_by) == ("paper", "a test")


def test_the_layout_is_the_documented_one(tmp_path, functional):
    reference(Network(functional, "functional")).save(tmp_path / "numbers.npz")
    with np.load(tmp_path / "numbers.npz") as file:
        assert {"images", "logits", "about", "vectors/inner%2Fa%25b", "gradient/inner%2Fa%25b/x%2Fy"} <= set(file.files)
        assert "options/pattern_net/patterns/001" in file.files
        assert all(len(str(file[key])) == 64 for key in file.files if key.startswith("weights/"))


def test_other_weights_are_refused_with_the_first_layer_that_differs(functional):
    net = Network(functional, "functional")
    known = reference(net)
    known.check(net)
    layers = list(known.weights)
    with pytest.raises(WelError, match=f"first layer that differs is '{layers[1]}'"):
        reference(net, weights={**known.weights, layers[1]: "0" * 64, layers[-1]: "0" * 64}).check(net)
    with pytest.raises(WelError, match="first layer that differs is 'more'"):
        reference(net, weights={**known.weights, "more": "0" * 64}).check(net)


@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x03\x04 no zip"])
def test_a_file_of_another_kind_is_one_sentence(tmp_path, content):
    path = tmp_path / "x.npz"
    path.write_bytes(content)
    with pytest.raises(WelError, match="not a file of reference numbers"):
        Reference.load(path)
    np.savez(path, images=np.ones(1))
    with pytest.raises(WelError, match="not a file of reference numbers"):
        Reference.load(path)
    with pytest.raises(WelError, match="an existing .npz file"):
        Reference.load(tmp_path / "none.npz")


def test_a_file_that_cannot_be_written_is_one_sentence(tmp_path, functional):
    with pytest.raises(WelError, match="Invalid value for `save`"):
        reference(Network(functional, "functional")).save(tmp_path / "no" / "such.npz")
