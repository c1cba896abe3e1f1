"""wel.studies.study: what a study does once, pieces that an interrupted run has left, and cells that are left out."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

import wel
from wel.backends.native.backend import NativeBackend
from wel.errors import UnsupportedError
from wel.methods import composites
from wel.methods.registry import METHODS
from wel.networks.network import Network
from wel.studies import random_logit, study, vector_study
from wel.studies.study import Cell, Piece, Settings, Study, pieces_of
from wel.system.progress import Steps
from wel.system.runs import Run

TWO = ["gradient", "lrp_alpha1_beta0"]


@pytest.fixture
def calls(monkeypatch):
    """How often what a study should do once is called."""
    found: Counter = Counter()

    def counted(owner, name: str) -> None:
        original = getattr(owner, name)

        def call(*arguments, **named):
            found[name] += 1
            return original(*arguments, **named)

        monkeypatch.setattr(owner, name, call)

    counted(study, "settle_options")
    counted(composites, "_build")
    counted(Network, "weights_hash")
    counted(NativeBackend, "check")
    counted(NativeBackend, "open")
    counted(vector_study, "random_vectors")
    return found


def test_csc_settles_builds_and_hashes_once_and_draws_no_vectors_to_count_them(residual, images, calls):
    net = wel.load(residual)
    wel.csc(net, images, TWO, start=["dense", "relu3"], vectors=2, semantics="both", batch_size=2)
    # two methods; each under two semantics; 3 images in batches of 2 and 1, from two start layers, for each of four cells
    assert calls == {"settle_options": 2, "_build": 4, "weights_hash": 1, "check": 4, "open": 1, "random_vectors": 16}


def test_random_logit_settles_builds_and_hashes_once(functional, images, calls):
    wel.random_logit(wel.load(functional), images, TWO, seed=1)
    # the maps of the true class and of another come down in one sweep, for each of two methods; two controls are settled too, and the
    # random one draws its two maps from the weights
    assert calls == {"settle_options": 4, "_build": 2, "weights_hash": 3, "check": 4, "open": 1}


def test_an_audit_settles_builds_and_hashes_once(functional, calls, tmp_path):
    net = wel.load(functional)
    np.save(tmp_path / "images.npy", np.random.default_rng(0).random((4, 8, 8, 3), dtype="float32"))
    pictures = wel.load_images(net, tmp_path / "images.npy")
    wel.audit(net, pictures, tmp_path / "audit", methods=TWO, semantics="paper")
    # gradient for the check of the forward pass too, which shares its rules; two methods each for the network and for the copy that has
    # random layers; two controls are settled too; of the hashes two are the record's, and the random control draws its five maps, of two
    # classes and above three cuts, from the weights
    assert calls["settle_options"] == 4 and calls["_build"] == 4 and calls["check"] == 4 and calls["weights_hash"] == 7


class Told(Steps):
    def __init__(self):
        self.counts: list[int] = []

    def advance(self, count, *words):
        self.counts.append(count)


def test_pieces_that_are_there_are_not_computed_again(tmp_path):
    run, told, asked = Run(tmp_path / "run", {}, {}), Told(), []

    def compute(there):
        asked.append(sorted(there))
        for name in ("a", "b", "c"):
            if name not in there:
                yield Piece(name, {"x": np.array([ord(name)])})

    some = pieces_of(run, "cell", lambda there: (piece for piece in compute(there) if piece.name != "c"), told, ("cell",))
    assert sorted(some) == ["a", "b"]
    every = pieces_of(run, "cell", compute, told, ("cell",))
    assert {name: int(piece["x"][0]) for name, piece in every.items()} == {"a": 97, "b": 98, "c": 99}
    assert asked == [[], ["a", "b"]]
    assert told.counts == [0, 1, 1, 2, 1]  # nothing kept, a, b; the two kept at once, c


def _refusing(monkeypatch, refused: str) -> None:
    def check(self, method, semantics, graph):
        if semantics == refused:
            raise UnsupportedError(f"Not under {semantics}.", "Expected another.")

    monkeypatch.setattr(NativeBackend, "check", check)


def test_a_cell_that_is_refused_leaves_the_method_under_its_other_semantics(functional, images, monkeypatch):
    _refusing(monkeypatch, "paper")
    found = Study(Settings(wel.load(functional), images, [METHODS["gradient"]], True, "both"))
    assert found.cells == [Cell(METHODS["gradient"], "corrected")]
    assert found.skipped == {"gradient (paper)": "Not under paper."}


def test_a_method_that_was_named_is_not_left_out(functional, images, monkeypatch):
    _refusing(monkeypatch, "paper")
    with pytest.raises(UnsupportedError, match="^Not under paper. Expected another.$"):
        wel.csc(wel.load(functional), images, "gradient")


def test_nothing_that_applies_is_said_with_the_first_reason(functional, images, monkeypatch):
    _refusing(monkeypatch, "paper")
    with pytest.raises(UnsupportedError, match="Not under paper"):
        random_logit.random_logit(wel.load(functional), images)
