"""innvestigate's open reports on BatchNormalization, Add and the αβ bias: plain 2.1.2 shows each, wel's backend mends it."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import randomized
from replicas import relative
from tensorflow import keras

import wel
from wel.studies.maps import attribution
from wel.system.environments import WRAPPED, outside

pytestmark = pytest.mark.wrapped

L = keras.layers


def bias_case():
    """#273: x = (1, 1), W = (1, −1), b = −1, so y = −1; α1β0 of R = y."""
    model = keras.Sequential([L.Input((2,)), L.Dense(1, name="unit")])
    model.set_weights([np.array([[1.0], [-1.0]]), np.array([-1.0])])
    return model, "lrp.alpha_1_beta_0", np.ones((1, 2))


def norm_case(gamma=(2.0, 1.0), variance=(4.0, 0.25), mean=(1.0, -2.0), beta=(0.5, 1.0)):
    """#292: one BatchNormalization (ε = 0) under LRP-z: y = kx + c, R_in = kx R / y = kx for R = y."""
    model = keras.Sequential([L.Input((2,)), L.BatchNormalization(epsilon=0.0, name="norm")])
    model.set_weights([np.array(part) for part in (gamma, beta, mean, variance)])
    return model, "lrp.z", np.array([[3.0, 1.0]])


def negative_norm_case():
    """#287: α1β0 of a BatchNormalization whose output is negative although its input contributes positively."""
    model, _, image = norm_case(mean=(10.0, -2.0))
    return model, "lrp.alpha_1_beta_0", image


def add_case():
    """#326: α1β0 through Add of a positive and a negative branch: plain 2.1.2 applies the z rule and gives negative relevance."""
    image = L.Input((2,))
    total = L.Add(name="total")([L.Dense(2, use_bias=False, name="up")(image), L.Dense(2, use_bias=False, name="down")(image)])
    model = keras.Model(image, total)
    model.get_layer("up").set_weights([np.diag([3.0, 3.0])])
    model.get_layer("down").set_weights([np.diag([-1.0, -2.0])])
    return model, "lrp.alpha_1_beta_0", np.array([[1.0, 2.0]])


def activations_case():
    """Activation functions of every kind, as layers and within them, under LRP-z."""
    functions = [L.LeakyReLU(0.3), L.ELU(), L.PReLU(), L.ThresholdedReLU(0.1), L.ReLU(), L.Activation("tanh"), L.Activation("elu")]
    stack = [layer for function in functions for layer in (L.Dense(6), function)]
    model = keras.Sequential([L.Input((6,)), *stack, L.Dense(5, "softplus"), L.Dense(3)])
    return randomized(model, seed=1), "lrp.z", np.random.default_rng(2).standard_normal((3, 6))


def path_case():
    """Integrated gradients of a network with one logit."""
    model = keras.Sequential([L.Input((6,)), L.Dense(9, "tanh"), L.Dense(7, "softplus"), L.Dense(1)])
    return randomized(model, seed=1), "integrated_gradients", np.random.default_rng(2).standard_normal((3, 6))


CASES = {
    **{"bias": bias_case, "norm": norm_case, "negative_norm": negative_norm_case, "add": add_case},
    **{"activations": activations_case, "path": path_case},
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    for name, case in CASES.items():
        model, _, image = case()
        model.save(folder / f"{name}.h5")
        np.save(folder / f"{name}.npy", image.astype("float32"))
    (folder / "cases.json").write_text(json.dumps({name: case()[1] for name, case in CASES.items()}))
    script = Path(__file__).parents[1] / "plain_innvestigate.py"
    done = subprocess.run([WRAPPED.python(), str(script), str(folder)], capture_output=True, text=True, env=outside())
    assert done.returncode == 0, done.stderr
    return {name: np.load(folder / f"{name}_plain.npy") for name in CASES}


def mended(case, semantics="corrected"):
    """The input's relevance by wel's backend for R = the model's output, as plain innvestigate starts."""
    model, analyzer, image = case()
    method = {"lrp.z": "lrp_z", "lrp.alpha_1_beta_0": "lrp_alpha1_beta0"}[analyzer]
    net = wel.load(model)
    vectors = model.predict(image, verbose=0)[:, None]
    return wel.relevance(net, method, image, vectors=vectors, at="input", semantics=semantics, backend="wrapped")["input"][:, 0]


def test_273_bias_of_alpha_beta(plain):
    # plain and `paper`: z = W⁺x⁺ + b = 1 − 1 = 0 → 1e-7, R / z = −1e7; corrected: z⁺ = 1 + b⁺ = 1, R = −1
    np.testing.assert_allclose(plain["bias"], [[-1e7, 0]], rtol=1e-6)
    np.testing.assert_allclose(mended(bias_case, "paper"), [[-1e7, 0]], rtol=1e-6)
    np.testing.assert_allclose(mended(bias_case), [[-1, 0]], rtol=1e-6)


@pytest.mark.parametrize("semantics", ["paper", "corrected"])
def test_292_batch_normalization_under_lrp_z(plain, semantics):
    # k = γ/σ = (2/2, 1/0.5) = (1, 2); R_in = kx = (3, 2)
    np.testing.assert_allclose(mended(norm_case, semantics), [[3, 2]], rtol=1e-5)
    assert np.abs(plain["norm"] - [[3, 2]]).max() > 0.5


def test_287_batch_normalization_under_alpha_beta(plain):
    # k = (1, 2), c = β − kμ = (0.5 − 10, 1 + 4) = (−9.5, 5), y = (3 − 9.5, 2 + 5) = (−6.5, 7) = R
    # corrected: z⁺ = kx + c⁺ = (3, 7), R_in = kx R / z⁺ = (3·(−6.5)/3, 2·7/7) = (−6.5, 2); paper: z = kx + c = y, R_in = kx = (3, 2)
    np.testing.assert_allclose(mended(negative_norm_case), [[-6.5, 2]], rtol=1e-5)
    np.testing.assert_allclose(mended(negative_norm_case, "paper"), [[3, 2]], rtol=1e-5)
    assert np.abs(plain["negative_norm"] - [[3, 2]]).max() > 0.5
    assert np.abs(plain["negative_norm"] - [[-6.5, 2]]).max() > 0.5


@pytest.mark.parametrize("semantics", ["paper", "corrected"])
def test_326_add_under_alpha_beta(plain, semantics):
    # up = (3, 6), down = (−1, −4), R = (2, 2). z⁺ of Add = up, so up takes R and down nothing; the dense layer passes R on whole.
    # plain: z of Add = R, so up takes (3, 6) and down (−1, −4): for `down` W⁺x = 0, its relevance is divided by 1e-7 or lost
    np.testing.assert_allclose(mended(add_case, semantics), [[2, 2]], rtol=1e-5)
    assert np.abs(plain["add"] - [[2, 2]]).max() > 0.5


@pytest.mark.parametrize("backend", ["native", "wrapped"])
def test_plain_activation_layers_follow_their_gradient_under_lrp(plain, backend):
    model, _, image = activations_case()
    vectors = model.predict(image, verbose=0)[:, None]
    found = {
        semantics: wel.relevance(wel.load(model), "lrp_z", image, vectors=vectors, at="input", semantics=semantics, backend=backend)[
            "input"
        ]
        for semantics in ("paper", "corrected")
    }
    assert relative(found["paper"][:, 0], plain["activations"]) <= 1e-4
    assert relative(found["corrected"][:, 0], plain["activations"]) > 0.1


def test_plain_integrated_gradients_are_the_left_rule_from_the_reference_on(plain):
    model, _, image = path_case()
    found = {
        (semantics, rule): attribution(wel.load(model), "integrated_gradients", image, 0, semantics=semantics, rule=rule)
        for semantics in ("paper", "corrected")
        for rule in ("left", "midpoint", "trapezoid")
    }
    off = {which: relative(one, plain["path"]) for which, one in found.items()}
    assert off.pop(("corrected", "left")) <= 1e-6 and min(off.values()) > 1e-4
    np.testing.assert_array_equal(attribution(wel.load(model), "integrated_gradients", image, 0), found["paper", "left"])


def test_alpha1_beta0_is_never_negative_on_a_residual_network_with_batch_normalization():
    net = wel.load("resnet20", weights="random", input_shape=(16, 16, 3))
    image = np.random.default_rng(0).uniform(0, 1, (1, 16, 16, 3))
    vectors = np.abs(np.random.default_rng(1).standard_normal((1, 2, 10)))
    read = wel.relevance(net, "lrp_alpha1_beta0", image, vectors=vectors, semantics="corrected", backend="wrapped")
    assert all(np.isfinite(array).all() and (array >= 0).all() for array in read.values())
