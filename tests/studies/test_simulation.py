"""Matrix chains: every kind by hand, the whole study against a naive replica, taps of networks, interrupted and repeated runs."""

from __future__ import annotations

import json
from itertools import combinations
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from conftest import loaded
from interruption import Interrupting

import wel
from wel.cli.app import main
from wel.errors import UnsupportedError, WelError
from wel.figures.simulation import FLOOR, alpha_beta_figure, kinds_figure, write_simulation_figures
from wel.networks.kernels import kernel_layers
from wel.studies import simulation
from wel.studies.simulation import CHAINS, LARGEST_RATIO, VGG16_SHAPES, simulate
from wel.studies.taps import central_tap, pattern_taps, weight_taps
from wel.system.runs import read_exactly

RANDOM = [name for name, chain in CHAINS.items() if chain.matrix is not None]
SMALL = {"top": (40, 10), "wide": (30, 40), "narrow": (20, 30), "last": (8, 20)}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Chains of four small matrices in place of VGG-16's."""
    monkeypatch.setattr(simulation, "VGG16_SHAPES", SMALL)


@pytest.fixture(scope="module")
def net(functional):
    return loaded(functional)


def some_patterns(net) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [rng.standard_normal(layer.kernel.shape).astype("float32") for layer in kernel_layers(net.graph)]


def dense(*kernels, name="dense"):
    """x -> x W1 W2 …, without ReLUs."""
    from tensorflow.keras import Sequential, layers

    stack = [layers.Dense(np.shape(kernel)[1], use_bias=False, name=f"w{i}") for i, kernel in enumerate(kernels)]
    model = Sequential([layers.Input(len(kernels[0]), name="x"), *stack], name=name)
    model.set_weights([np.array(kernel, "float32") for kernel in kernels])
    return wel.load(model)


# --- taps


def test_the_shapes_are_those_of_vgg16s_taps():
    vgg16 = wel.load("vgg16", weights="random", input_shape=(32, 32, 3))  # 1 × 1 × 512 is flattened, instead of 7 × 7 × 512
    assert {vgg16.shown(tap.layer): tap.matrix.shape for tap in weight_taps(vgg16)} == VGG16_SHAPES
    assert list(VGG16_SHAPES)[:4] == ["fc3", "fc2", "fc1", "conv5_3"] and VGG16_SHAPES["fc1"] == (512, 4096)


def test_the_tap_of_a_dense_layer_belongs_to_the_middle_of_the_flattened_map():
    kernel = np.arange(7 * 7 * 2 * 3).reshape(98, 3)
    first = (3 * 7 + 3) * 2  # row 3, column 3 of 7 × 7, 2 channels
    np.testing.assert_array_equal(central_tap(kernel, (7, 7, 2)), kernel[first : first + 2])
    np.testing.assert_array_equal(central_tap(kernel), kernel)


def test_taps_of_a_network_from_the_output_down(net):
    kernels = {layer.node.name: layer.kernel for layer in kernel_layers(net.graph)}
    taps = weight_taps(net)
    assert [tap.layer for tap in taps] == ["dense", "hidden", "conv2", "conv1"]
    # hidden sees 3 × 3 × 6 flattened: its middle is row 1, column 1, so the entries from (1 · 3 + 1) · 6 = 24 on
    expected = [kernels["dense"], kernels["hidden"][24:30], kernels["conv2"][1, 1], kernels["conv1"][1, 1]]
    for tap, matrix in zip(taps, expected):
        np.testing.assert_array_equal(tap.matrix, matrix)


def test_batch_normalization_is_folded_into_the_tap():
    from tensorflow.keras import Sequential, layers

    model = Sequential([layers.Input((4, 4, 2)), layers.Conv2D(3, 3, name="conv"), layers.BatchNormalization(epsilon=1.0, name="bn")])
    model.get_layer("bn").set_weights([np.array([2.0, 1.0, 3.0]), np.zeros(3), np.zeros(3), np.array([3.0, 0.0, 8.0])])
    (tap,) = weight_taps(wel.load(model))
    # γ/√(σ² + ε) = 2/√4, 1/√1, 3/√9 = 1, 1, 1; with γ = 4 for the first: 2
    np.testing.assert_allclose(tap.matrix, model.get_layer("conv").kernel.numpy()[1, 1], rtol=1e-7)
    model.get_layer("bn").gamma.assign([4.0, 1.0, 3.0])
    np.testing.assert_allclose(weight_taps(wel.load(model))[0].matrix[:, 0], 2 * tap.matrix[:, 0], rtol=1e-7)


def test_pattern_taps_are_taps_of_pattern_times_weight(net):
    patterns = some_patterns(net)
    kernels = [layer.kernel for layer in kernel_layers(net.graph)]
    taps = pattern_taps(net, patterns)
    np.testing.assert_allclose(taps[-1].matrix, (patterns[0] * kernels[0])[1, 1], rtol=1e-6)
    np.testing.assert_allclose(taps[1].matrix, (patterns[2] * kernels[2])[24:30], rtol=1e-6)


def test_networks_without_a_single_path_of_matrices_have_no_taps(residual):
    from tensorflow.keras import Sequential, layers

    with pytest.raises(UnsupportedError, match=r"layer 'add' \(Add\) has 2 inputs"):
        weight_taps(loaded(residual))
    separate = [layers.Input((4, 4, 2)), layers.DepthwiseConv2D(3, name="each"), layers.Flatten(), layers.Dense(2, name="out")]
    with pytest.raises(UnsupportedError, match=r"'each' \(DepthwiseConv2D\) has no matrix"):
        weight_taps(wel.load(Sequential(separate)))
    shuffled = [layers.Input((4, 4, 2)), layers.Conv2D(3, 1, name="conv"), layers.Reshape((48,)), layers.Dense(2, name="out")]
    with pytest.raises(UnsupportedError, match=r"the \(48, 2\) tap of 'out' and the \(2, 3\) one of 'conv' do not fit"):
        weight_taps(wel.load(Sequential(shuffled)))


# --- chains


def test_the_kinds_of_matrices_by_hand():
    normal = np.array([[1.0, -3.0], [-2.0, 2.0]])
    expected = {
        "vanilla": normal,
        "relu": normal,
        "non_negative": [[1, 0], [0, 2]],
        "positive": [[1, 3], [2, 2]],
        "stochastic": [[0.25, 0.75], [0.5, 0.5]],  # Wᵀ: its rows are the columns of W, and sum to 1
        "alpha10_beta9": [[10, -27], [-18, 20]],
        "alpha5_beta4": [[5, -12], [-8, 10]],
        "alpha4_beta3": [[4, -9], [-6, 8]],
        "alpha3_beta2": [[3, -6], [-4, 6]],
        "alpha2_beta1": [[2, -3], [-2, 4]],
        "alpha1_beta0": [[1, 0], [0, 2]],
    }
    assert set(expected) == set(RANDOM)
    for name, matrix in expected.items():
        np.testing.assert_array_equal(CHAINS[name].matrix(normal), matrix)


def replica(chain, shapes, rows, generators):
    """The study in the plainest way: whole matrices, one cosine at a time, the singular values of the product written out."""
    found = {layer: [] for layer in shapes}
    for sample, rng in enumerate(generators):
        R = rng.standard_normal((rows, next(iter(shapes.values()))[1]))
        P = np.eye(R.shape[1])
        for number, (layer, (inputs, outputs)) in enumerate(shapes.items()):
            matrix = chain.matrix(rng.standard_normal((outputs, inputs)))
            R, P = R @ matrix, P @ matrix
            if chain.rectified and number > 0:
                R = np.maximum(R, 0)
            cosines = [abs(a @ b) / np.linalg.norm(a) / np.linalg.norm(b) for a, b in combinations(R, 2) if a.any() and b.any()]
            sigma = np.linalg.svd(R if chain.rectified else P, compute_uv=False)
            found[layer].append((np.mean(cosines), sigma[0] / sigma[1], 1 - len(cosines) / (rows * (rows - 1) / 2)))
    return found


def generator(seed, chain, sample):
    """Like `wel.measures.vectors`: (seed, sha256 of the name, sample)."""
    import hashlib

    return np.random.default_rng([seed, int.from_bytes(hashlib.sha256(chain.encode()).digest()[:8], "little"), sample])


@pytest.mark.parametrize("name", RANDOM)
def test_the_study_is_what_a_naive_replica_gives(name):
    table = simulate(samples=3, rows=6, seed=5).table
    group = table[table["chain"] == name].set_index("layer")
    assert list(group.index) == list(SMALL) and group["product"].tolist() == [1, 2, 3, 4]
    level = 0.95 if name.startswith("alpha") else 0.99
    for layer, samples in replica(CHAINS[name], SMALL, 6, [generator(5, name, sample) for sample in range(3)]).items():
        cosines, ratios, dropped = np.array(samples).T
        row = group.loc[layer]
        assert (row["inputs"], row["outputs"]) == SMALL[layer] and row["level"] == level
        spread = np.quantile(cosines, [0.5, (1 - level) / 2, (1 + level) / 2])
        np.testing.assert_allclose(row[["median", "low", "high"]].astype(float), spread, rtol=1e-9)
        np.testing.assert_allclose(row["nan_fraction"], dropped.mean(), atol=1e-12)
        # the product of the first sample, or the rows of all samples
        rectified = CHAINS[name].rectified
        assert row["sigma_of"] == ("rows" if rectified else "product")
        np.testing.assert_allclose(row["sigma_ratio"], np.median(ratios) if rectified else ratios[0], rtol=1e-6)


def test_matrices_that_are_drawn_in_slices_are_whole(monkeypatch):
    whole = simulate(samples=1, rows=4).table
    monkeypatch.setattr(simulation, "SLICE", 7)
    pd.testing.assert_frame_equal(simulate(samples=1, rows=4).table, whole, rtol=1e-8)


def test_positive_chains_converge_exponentially_and_vanilla_ones_do_not(monkeypatch):
    monkeypatch.setattr(simulation, "VGG16_SHAPES", {f"layer{i}": (100, 100) for i in range(8)})
    table = simulate(samples=5).table
    distance = 1 - table.pivot(index="product", columns="chain", values="median")
    # σ₁/σ₂ of |N(0, 1)| is about 0.80 · 100 / (0.60 · 2 · √100) = 6.6, that of its products 6.6 to the power or more; 1 - cos its square
    for name in ("positive", "stochastic"):
        assert (distance[name].iloc[2:7].to_numpy() < 6.6**-2 * distance[name].iloc[1:6].to_numpy()).all()
    # k Gaussian matrices of width n: E cos² is about (k + 1)/n, so mean |cos| stays below its root
    assert (distance["vanilla"] > 1 - np.sqrt((distance.index + 1) / 100)).all() and distance["relu"].iloc[-1] > 0.1
    assert (np.diff(distance.loc[6, ["positive", "non_negative", "alpha2_beta1", "alpha5_beta4", "alpha10_beta9"]]) > 0).all()


# --- learned chains


def test_a_learned_chain_by_hand():
    # rows R, W = w0 (2, 2) below w1 (2, 2): R w1ᵀ, then max(R w1ᵀ w0ᵀ, 0)
    net = dense([[1, 2], [-1, 1]], [[1, 0], [2, 1]])
    table = simulate(net, samples=1, rows=5, seed=2).table
    rows = generator(2, "learned_relu", 0).standard_normal((5, 2)) @ np.array([[1, 2], [0, 1]])
    below = np.maximum(rows @ np.array([[1, -1], [2, 1]]), 0)
    group = table[table["chain"] == "learned_relu"]
    assert group["layer"].tolist() == ["w1", "w0"] and set(group["network"]) == {"dense"}
    for row, expected in zip(group.to_dict("records"), (rows, below)):
        cosines = [abs(a @ b) / np.linalg.norm(a) / np.linalg.norm(b) for a, b in combinations(expected, 2) if a.any() and b.any()]
        np.testing.assert_allclose(row["median"], np.mean(cosines), rtol=1e-12)
        sigma = np.linalg.svd(expected, compute_uv=False)
        np.testing.assert_allclose(row["sigma_ratio"], sigma[0] / sigma[1], rtol=1e-12)


def test_rows_of_zeros_are_dropped_and_may_leave_nothing():
    net = dense(-np.eye(2), np.zeros((2, 3)), np.ones((3, 2)))
    group = simulate(net, samples=2, rows=3).table.query("chain == 'learned_relu'").reset_index()
    assert group["nan_fraction"].tolist() == [0, 1, 1] and group["median"].isna().tolist() == [False, True, True]
    assert group["sigma_ratio"].isna().tolist() == [False, True, True]


def test_a_product_of_rank_one_is_parallel_in_float64():
    # an outer product of powers of two: every row is a multiple of the same vector, exactly
    net = dense(np.eye(3), np.outer([1, 2, -4], [1, 0.5]))
    patterns = [np.ones((3, 3)), np.ones((3, 2))]
    group = simulate(net, samples=2, rows=4, patterns=patterns).table.query("chain == 'pattern_attribution'")
    assert (group["median"].iloc[-1], len(group)) == (1, 2)
    assert group["sigma_ratio"].between(LARGEST_RATIO / 100, LARGEST_RATIO).all()


def test_one_input_has_no_second_singular_value(monkeypatch):
    monkeypatch.setattr(simulation, "VGG16_SHAPES", {"top": (4, 5), "grey": (1, 4)})
    table = simulate(samples=1, rows=3).table
    assert table.loc[table["layer"] == "grey", "sigma_ratio"].isna().all() and table.loc[table["layer"] == "top", "sigma_ratio"].gt(1).all()


def test_weights_of_any_size_neither_overflow_nor_underflow():
    # 2^±100 per layer: the product is 2^±1200 and does not fit into float64, but scaling is exact
    kernels = np.random.default_rng(0).standard_normal((12, 4, 4)).astype("float32")
    tables = [simulate(dense(*(kernels * 2.0**power)), samples=2, rows=3).table for power in (-100, 0, 100)]
    for table in tables:
        pd.testing.assert_frame_equal(table[table["alpha"].isna()], tables[1][tables[1]["alpha"].isna()])


def test_what_a_network_lacks_is_left_out_with_a_reason(net, residual):
    assert simulate(samples=1, rows=2).skipped == dict.fromkeys(
        ("learned_relu", "pattern_attribution"), "It takes a trained network, and none was given."
    )
    assert simulate(net, samples=1, rows=2).skipped == {"pattern_attribution": "There are no patterns for the weights of functional."}
    found = simulate(net, samples=1, rows=2, patterns=some_patterns(net))
    assert found.skipped == {} and set(found.table["chain"]) == set(CHAINS)
    branched = simulate(loaded(residual), samples=1, rows=2).skipped
    assert branched["learned_relu"] == "No chain of matrices: layer 'add' (Add) has 2 inputs."


def test_the_bundled_network_has_all_chains():
    found = simulate(wel.load("cifar10"), samples=1, rows=2)
    learned = found.table[found.table["network"] == "cifar10"]
    assert found.skipped == {} and set(learned["chain"]) == {"learned_relu", "pattern_attribution"}
    assert learned["layer"].tolist() == ["fc6", "fc5", "conv4", "conv3", "conv2", "conv1"] * 2
    assert learned["inputs"].tolist() == [1024, 128, 128, 64, 32, 3] * 2


# --- the same numbers every way


def test_the_seed_decides_and_the_order_of_chains_does_not(monkeypatch):
    one, same, other = (simulate(samples=2, rows=4, seed=seed).table for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(one, same)
    assert (one["median"] != other["median"]).all()
    monkeypatch.setattr(simulation, "CHAINS", dict(reversed(CHAINS.items())))
    turned = simulate(samples=2, rows=4, seed=1).table
    keys = ["chain", "product"]
    pd.testing.assert_frame_equal(turned.sort_values(keys, ignore_index=True), one.sort_values(keys, ignore_index=True))


def test_an_interrupted_run_goes_on_and_ends_in_the_same_table(net, tmp_path, monkeypatch):
    whole = simulate(net, samples=3, rows=4, out=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        simulate(net, samples=3, rows=4, out=tmp_path / "run", steps=Interrupting(after=8))
    drawn, multiplied = [], simulation._multiplied
    monkeypatch.setattr(simulation, "_multiplied", lambda *arguments: drawn.append(1) or multiplied(*arguments))
    steps = Interrupting()
    resumed = simulate(net, samples=3, rows=4, out=tmp_path / "run", steps=steps)
    assert steps.total == steps.done == 12 * 3 and len(drawn) == 12 * 3 - 8
    assert (tmp_path / "run" / "simulation.csv").read_bytes() == (tmp_path / "whole" / "simulation.csv").read_bytes()
    again = simulate(net, samples=3, rows=4, out=tmp_path / "run")
    assert len(drawn) == 12 * 3 - 8 and again.skipped == resumed.skipped == whole.skipped
    for table in (again.table, resumed.table):
        pd.testing.assert_frame_equal(table, whole.table)


def test_the_record_holds_what_decides_the_numbers(net, tmp_path):
    patterns = some_patterns(net)
    simulate(net, samples=1, rows=2, seed=3, patterns=patterns, out=tmp_path / "run")
    request = json.loads((tmp_path / "run" / "run.json").read_text())["request"]
    network = {"name": "functional", "weights_sha256": net.weights_hash()}
    assert request.pop("patterns_sha256") and request == {"study": "simulate", "samples": 1, "rows": 2, "seed": 3, "network": network}
    for changed in ({"seed": 4}, {"samples": 2}, {"rows": 3}, {"patterns": [2 * array for array in patterns]}):
        with pytest.raises(WelError, match="a run with other settings"):
            simulate(net, **{"samples": 1, "rows": 2, "seed": 3, "patterns": patterns, "out": tmp_path / "run", **changed})


@pytest.mark.parametrize("name, value", [("samples", 0), ("samples", 2.5), ("rows", 1), ("seed", -1), ("seed", "x")])
def test_settings_that_make_no_sense_are_refused(name, value, tmp_path):
    with pytest.raises(WelError, match=f"Invalid value for `{name}`.*Expected a whole number from"):
        simulate(**{name: value, "out": tmp_path / "run"})
    assert not (tmp_path / "run").exists()


# --- figures and the command


def test_figures_draw_the_table(net):
    table = simulate(net, samples=2, rows=4, patterns=some_patterns(net)).table
    table.loc[table["chain"].eq("positive") & table["product"].eq(4), ["median", "high"]] = 1.0
    for figure, chains in ((kinds_figure(table), list(CHAINS)[:7]), (alpha_beta_figure(table), list(CHAINS)[7:])):
        distance, ratio = figure.axes
        assert distance.get_yscale() == ratio.get_yscale() == "log"
        shown = [line for axes in (distance, ratio) for line in axes.get_lines() if len(line.get_xdata()) == 4]
        groups = [table[table["chain"] == chain] for chain in chains]
        expected = [np.maximum(1 - group["median"], FLOOR) for group in groups] + [group["sigma_ratio"] for group in groups]
        for line, values in zip(shown, expected):
            np.testing.assert_array_equal(line.get_ydata(), values)
        assert len(shown) == len(expected) == 2 * len(chains)
        names = [text.get_text() for text in figure.legends[0].get_texts()]
        assert len(names) == len(chains) and names[0] == CHAINS[chains[0]].label
    assert "Learned ReLU (functional)" in [text.get_text() for text in kinds_figure(table).legends[0].get_texts()]
    assert kinds_figure(table).axes[0].get_lines()[5].get_ydata()[-1] == FLOOR


def test_figure_files_are_the_same_twice(tmp_path):
    table = simulate(samples=2, rows=4).table
    written = write_simulation_figures(table, tmp_path / "a")
    assert [path.name for path in written] == ["chains.png", "chains.svg", "chains_alpha_beta.png", "chains_alpha_beta.svg"]
    for one, other in zip(written, write_simulation_figures(table, tmp_path / "b")):
        assert one.read_bytes() == other.read_bytes()
    text = "".join(ElementTree.parse(written[1]).getroot().itertext())
    assert "Vanilla" in text and "wide · 2" in text and "Learned" not in text


def test_the_command(functional, tmp_path, capsys):
    functional.save(tmp_path / "tiny.h5")
    out = tmp_path / "run"
    options = ["--model", str(tmp_path / "tiny.h5"), "--samples", "2", "--rows", "4", "--seed", "6", "--out", str(out)]
    with pytest.raises(SystemExit) as ended:
        main(["simulate", *options])
    printed = capsys.readouterr().out
    assert not ended.value.code
    assert "Learned chains: shapes and weights of tiny." in printed
    assert "Left out: pattern_attribution. There are no patterns for the weights of tiny." in printed
    library = simulate(wel.load(tmp_path / "tiny.h5"), samples=2, rows=4, seed=6).table
    pd.testing.assert_frame_equal(read_exactly(out / "simulation.csv"), library)
    vanilla = library[library["chain"] == "vanilla"]
    assert f"{1 - vanilla['median'].iloc[-1]:.1e}" in printed and f"{vanilla['sigma_ratio'].iloc[-1]:.1e}" in printed
    assert {path.name for path in out.iterdir()} == {"run.json", "simulation.csv", "figures"}


def test_the_command_refuses_before_it_begins(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["simulate", "--model", "vgg16", "--weights", str(tmp_path / "none.h5"), "--out", str(tmp_path / "run")])
    said = capsys.readouterr().err
    assert ended.value.code == 2 and "none.h5" in said and "Traceback" not in said and not (tmp_path / "run").exists()
