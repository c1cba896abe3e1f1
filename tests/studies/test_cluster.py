"""Studies on workers of dask.distributed: the same bytes as without, whatever is lost on the way; what cannot give them is refused."""

from __future__ import annotations

import errno
import gc
import os
import re
import signal
import socket
import subprocess
import sys
import time
import types
from pathlib import Path
from threading import Thread

import numpy as np
import pandas as pd
import psutil
import pytest
from conftest import loaded
from interruption import Interrupting
from tensorflow.keras import Sequential, layers
from tensorflow.keras.initializers import GlorotUniform

import wel
from wel.errors import UnsupportedError
from wel.networks.packing import packed
from wel.studies import cluster as units_of_workers
from wel.studies import units, vector_study
from wel.system import cluster, runs
from wel.system.environments import ORIGINAL

distributed = pytest.importorskip("distributed")
TABLES = ("csc.csv", "histograms.csv")
SETTINGS = {"methods": ["gradient", "lrp_z"], "start": ["output", "conv2"], "vectors": 3, "batch_size": 1}


@pytest.fixture(scope="module")
def net(functional):
    return loaded(functional)


@pytest.fixture(scope="module")
def client():
    """Two workers in this process."""
    with distributed.Client(processes=False, n_workers=2, threads_per_worker=2, dashboard_address="127.0.0.1:0") as client:
        yield client


@pytest.fixture(scope="module")
def plain(net, images, tmp_path_factory):
    """The tables of a run without workers."""
    return run(net, images, tmp_path_factory.mktemp("plain") / "run")


def run(net, images, out: Path, **settings) -> list[bytes]:
    wel.csc(net, images, out=out, **{**SETTINGS, **settings})
    return [(out / name).read_bytes() for name in TABLES]


# --- the same bytes


def test_workers_give_the_same_bytes_and_steps(net, images, client, plain, tmp_path):
    steps = Interrupting()
    assert run(net, images, tmp_path / "run", client=client, steps=steps) == plain
    assert steps.done == steps.total == 2 * 2 * 3  # methods × start layers × images
    assert not (tmp_path / "run" / "parts").exists()


def test_vectors_that_are_given_travel(net, images, client, tmp_path):
    vectors = {"dense": np.random.default_rng(3).standard_normal((3, 2, 4)).astype("float32")}
    several = [run(net, images, tmp_path / str(one is None), start=None, vectors=vectors, client=one) for one in (client, None)]
    assert several[0] == several[1]


def test_weights_that_have_changed_travel(net, images, client, plain, tmp_path):
    before = net.model.get_weights()
    try:
        net.model.set_weights([2 * array for array in before])
        several = [run(net, images, tmp_path / str(one is None), client=one) for one in (client, None)]
    finally:
        net.model.set_weights(before)
    assert several[0] == several[1] != plain


def test_a_worker_does_not_take_a_network_for_another_of_the_same_weights(images, client, tmp_path):
    def of(activation):
        first = layers.Conv2D(2, 3, activation=activation, kernel_initializer=GlorotUniform(1), name="conv2")
        end = layers.Dense(2, kernel_initializer=GlorotUniform(2), name="output")
        return wel.load(Sequential([layers.Input((8, 8, 3), name="x"), first, layers.Flatten(name="flat"), end], name="small"))

    found = []
    for activation in ("relu", "tanh"):
        several = [run(of(activation), images, tmp_path / f"{activation}-{one is None}", client=one) for one in (client, None)]
        assert several[0] == several[1]
        found.append(several[0])
    assert found[0] != found[1]


def test_the_original_stack_gives_the_same_bytes_on_workers(client, tmp_path):
    try:
        ORIGINAL.python()
    except wel.WelError as error:
        pytest.skip(str(error))
    net = wel.load("cifar10")
    several = [
        run(net, wel.load_images(net, limit=2).inputs, tmp_path / str(one is None), backend="original", start="output", client=one)
        for one in (client, None)
    ]
    assert several[0] == several[1]


@pytest.mark.parametrize("with_workers", [[True, True], [True, False], [False, True]])
def test_an_interrupted_run_goes_on_with_or_without_workers(net, images, client, plain, tmp_path, with_workers):
    first, second = (client if one else None for one in with_workers)
    with pytest.raises(KeyboardInterrupt):
        run(net, images, tmp_path / "run", client=first, steps=Interrupting(after=3))
    kept = len(list((tmp_path / "run" / "parts").glob("*.npz")))
    assert 1 <= kept < 6
    assert run(net, images, tmp_path / "run", client=second) == plain


@pytest.mark.parametrize(("batch_size", "pieces"), [(3, 0), (2, 2 * 2)])  # of two methods, three images each
def test_a_method_that_comes_in_one_piece_is_neither_written_nor_read_again(net, images, client, tmp_path, monkeypatch, batch_size, pieces):
    plain = run(net, images, tmp_path / "plain", batch_size=batch_size)
    save, read, saved, found = runs.Run.save_part, runs._arrays, [], []
    monkeypatch.setattr(runs.Run, "save_part", lambda self, *piece: saved.append(piece) or save(self, *piece))
    monkeypatch.setattr(runs, "_arrays", lambda path: found.append(path) or read(path))
    assert run(net, images, tmp_path / "run", batch_size=batch_size, client=client) == plain
    assert len(saved) == len(found) == pieces


MAPS = {"methods": ["gradient", "smoothgrad", "grad_cam"], "options": {"smoothgrad": {"samples": 2}}, "seed": 3}
# study -> its function, arguments, and how many tables it writes
OTHERS = {
    "random-logit": (wel.random_logit, MAPS, 2),
    "cascading": (wel.cascading_randomization, {**MAPS, "layers": ["dense", "conv2"]}, 2),
    "cascading, noisy": (wel.cascading_randomization, {**MAPS, "layers": ["conv2"], "order": "independent", "samples": 2}, 2),
    "saliency": (wel.saliency, {**MAPS, "stages": ["dense"], "compare": (0, 2)}, 2),
    "faithfulness": (wel.faithfulness, {**MAPS, "parts": 3, "sufficiency": 2, "baseline": "linear"}, 4),
    "effective-rank": (wel.effective_rank, {"methods": ["gradient"], "vectors": 3, "batch_size": 2}, 1),
}


@pytest.mark.parametrize("name", OTHERS)
def test_all_studies_give_the_same_bytes_and_steps(net, images, client, tmp_path, monkeypatch, name):
    study, arguments, tables = OTHERS[name]
    monkeypatch.setattr(units, "UNIT_IMAGES", 2)
    steps, found = Interrupting(), []
    for one in (None, client):
        study(net, images, **arguments, client=one, steps=steps, out=tmp_path / str(one is None))
        assert steps.done == steps.total > 0
        steps.done = 0
        files = [*tmp_path.joinpath(str(one is None)).glob("*.csv"), *tmp_path.joinpath(str(one is None)).glob("maps/*.npz")]
        found.append({path.name: path.read_bytes() if path.suffix == ".csv" else _arrays(path) for path in files})
    assert found[0] == found[1] and sum(file.endswith(".csv") for file in found[0]) == tables


def _arrays(path: Path) -> dict[str, bytes]:
    with np.load(path) as arrays:
        return {name: arrays[name].tobytes() for name in arrays.files}


def test_an_interrupted_study_of_maps_goes_on_with_or_without_workers(net, images, client, tmp_path, monkeypatch):
    monkeypatch.setattr(units, "UNIT_IMAGES", 1)
    whole = wel.random_logit(net, images, **MAPS)
    with pytest.raises(KeyboardInterrupt):
        wel.random_logit(net, images, **MAPS, client=client, out=tmp_path / "run", steps=Interrupting(after=4))
    assert 4 <= len(list((tmp_path / "run" / "parts").glob("*.npz"))) < 15  # of 3 methods and 2 controls, 3 images each
    again = wel.random_logit(net, images, **MAPS, out=tmp_path / "run")
    pd.testing.assert_frame_equal(again.images, whole.images)


def test_noise_depends_on_the_number_of_an_image_not_on_its_unit(net, images, monkeypatch):
    settings = {**MAPS, "methods": ["smoothgrad", "occlusion", "iba"]}
    whole = wel.faithfulness(net, images, **settings, parts=3, baseline="linear")
    monkeypatch.setattr(units, "UNIT_IMAGES", 1)
    pd.testing.assert_frame_equal(wel.faithfulness(net, images, **settings, parts=3, baseline="linear").images, whole.images, rtol=1e-5)


def test_an_audit_measures_the_same(net, images, client, tmp_path):
    np.save(tmp_path / "images.npy", images)
    pictures = wel.load_images(net, tmp_path / "images.npy")
    records = []
    for one in (None, client):
        steps = Interrupting()
        settings = {"methods": ["gradient", "lrp_z", "grad_cam"], "semantics": "paper", "client": one, "steps": steps}
        records.append(wel.audit(net, pictures, tmp_path / str(one is None), **settings).record)
        assert steps.done == steps.total == 5  # three methods and two controls
    for record in records:
        for part in (record, *record["methods"], *record["controls"]):
            del part["seconds"]
    assert records[0] == records[1]


# --- what fails


def failing(monkeypatch, number: int, error: Exception, times: int) -> list[int]:
    """Has the batch of an image fail so many times; the list tells how often it was tried."""
    whole, tries = vector_study.Batch.__call__, []

    def compute(self, *arguments):
        if self.numbers == (number,):
            tries.append(number)
            if len(tries) <= times:
                raise error
        return whole(self, *arguments)

    monkeypatch.setattr(vector_study.Batch, "__call__", compute)
    return tries


def test_a_unit_that_fails_twice_is_tried_again(net, images, client, tmp_path, monkeypatch):
    settings = {"methods": ["gradient"], "start": "output"}
    plain = run(net, images, tmp_path / "plain", **settings)
    tries = failing(monkeypatch, 1, RuntimeError("out of luck"), times=2)
    assert run(net, images, tmp_path / "run", client=client, **settings) == plain
    assert len(tries) == 3


def test_a_unit_that_fails_three_times_is_named_and_the_rest_is_done(net, images, client, tmp_path, monkeypatch):
    tries = failing(monkeypatch, 1, RuntimeError("out of luck"), times=3)
    settings = {"methods": ["gradient"], "start": "output"}
    with pytest.raises(wel.WelError, match=r"1 failed 3 times: gradient \(paper\) from image 1 on, RuntimeError: out of luck\. The others"):
        run(net, images, tmp_path / "run", client=client, **settings)
    assert len(tries) == 3
    assert sorted(path.stem for path in (tmp_path / "run" / "parts").iterdir()) == ["gradient-paper-000000", "gradient-paper-000002"]
    monkeypatch.undo()
    assert run(net, images, tmp_path / "run", client=client, **settings) == run(net, images, tmp_path / "plain", **settings)


def test_a_unit_whose_workers_are_killed_is_named_without_dasks_names(net, images, client, monkeypatch):
    last = types.SimpleNamespace(address="tcp://127.0.0.1:1")
    failing(monkeypatch, 1, distributed.KilledWorker("wel-4c2f-9d1e", last, 2), times=3)
    with pytest.raises(wel.WelError) as error:
        wel.csc(net, images, client=client, **{**SETTINGS, "methods": ["gradient"]})
    assert str(error.value) == (
        "Of the units of work 1 failed 3 times: gradient (paper) from image 1 on, KilledWorker: the process of its worker was killed or "
        "ran out of memory, each time. The others are in the run directory, from which the same call goes on."
    )


def test_what_only_a_worker_can_tell_leaves_a_method_out_of_all(net, images, client, monkeypatch):
    failing(monkeypatch, 1, UnsupportedError("It cannot be had."), times=1000)
    with pytest.raises(UnsupportedError, match="It cannot be had"):
        wel.csc(net, images, client=client, **SETTINGS)
    steps = Interrupting()
    result = wel.csc(net, images, client=client, **{**SETTINGS, "methods": "all"}, steps=steps)
    assert len(result.table) == 0 and result.skipped["gradient"] == "It cannot be had."
    assert steps.done == steps.total


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("wel", "0.1.0"),
        ("Python", "3.8"),
        ("TensorFlow", "2.13.0"),
        ("numpy", "1.26.4"),
        ("the arithmetic", "fastest"),
        ("TF_NUM_INTRAOP_THREADS", "64"),
        ("the device", "GPU"),
    ],
)
def test_a_worker_that_computes_other_numbers_is_refused(client, monkeypatch, name, value):
    facts = [cluster.facts(), {**cluster.facts(), name: value}]
    monkeypatch.setattr(client, "run", lambda *_, **__: dict(zip(("tcp://10.0.0.1:1", "tcp://10.0.0.2:1"), facts)))
    with pytest.raises(wel.WelError, match=f"the worker tcp://10.0.0.2:1 has {name} {value}. Expected {facts[0][name]}"):
        cluster.check_workers(client)


@pytest.mark.parametrize(
    ("there", "message"),
    [
        ({"wel": wel.__version__, "Python": "3.8"}, "its scheduler has Python 3.8. Expected 3."),
        (ModuleNotFoundError("No module named 'wel'"), r"its scheduler cannot run wel \(No module named 'wel'\). Expected wel "),
    ],
)
def test_a_scheduler_that_cannot_read_units_is_refused(client, monkeypatch, there, message):
    def answer(function):
        if isinstance(there, Exception):
            raise there
        return there

    monkeypatch.setattr(client, "run_on_scheduler", answer)
    with pytest.raises(wel.WelError, match=message):
        cluster.check_workers(client)


def test_devices_are_mixed_where_that_is_asked_for(client, monkeypatch):
    facts = [cluster.facts(), {**cluster.facts(), "the device": "GPU"}]  # as a worker with a GPU would answer
    monkeypatch.setattr(client, "run", lambda *_, **__: dict(zip(("tcp://10.0.0.1:1", "tcp://10.0.0.2:1"), facts)))
    monkeypatch.setenv("WEL_MIXED_DEVICES", "1")
    assert "the device" not in cluster.check_workers(client)
    monkeypatch.setattr(client, "run", lambda *_, **__: {"tcp://10.0.0.2:1": facts[1]})
    monkeypatch.delenv("WEL_MIXED_DEVICES")
    assert cluster.check_workers(client)["the device"] == "GPU"  # of a client without one


def test_a_worker_that_comes_later_and_computes_other_numbers_is_refused(net, images, client, monkeypatch):
    monkeypatch.setattr(units_of_workers, "facts", lambda: {**cluster.facts(), "numpy": "1.26.4"})
    with pytest.raises(wel.WelError, match="the worker .* has numpy 1.26.4. Expected"):
        wel.csc(net, images, client=client, **SETTINGS)


def test_a_worker_that_cannot_write_the_network_is_named(net, images, client, monkeypatch):
    def full(path, mode):
        if mode == "r+b":
            raise OSError(errno.ENOSPC, "No space left on device")
        return open(path, mode)

    monkeypatch.setattr(units_of_workers, "PART", 1000)  # bytes, so that the second one is too much
    monkeypatch.setattr(units_of_workers, "open", full, raising=False)
    with pytest.raises(wel.WelError) as error:
        wel.csc(net, images, client=client, **SETTINGS)
    assert re.fullmatch(
        r"Invalid value for `client`: the worker \S+ cannot keep the network \(\[Errno 28\] No space left on device\)\. "
        "Expected a --local-directory with room for it.",
        str(error.value),
    )
    assert not units_of_workers._kept


def test_of_two_studies_of_a_network_the_first_to_end_leaves_the_others_file(net, client, tmp_path):
    asked = units_of_workers.Sent(packed(net), {}, {}, 0)
    data = asked.network.data
    for key in ("first", "second"):
        units_of_workers.keep(key, asked, tmp_path)
        for start in (0, 4000, 4000):  # one arrives twice
            part = data[start : start + 4000] if start == 0 else data[start:]
            units_of_workers.keep_part(key, start, part, "tcp://127.0.0.1:1", tmp_path)
    units_of_workers.forget("first", tmp_path)
    (path,) = tmp_path.glob("*/*")
    assert path == tmp_path / "second" / asked.network.name and path.read_bytes() == data.tobytes()
    assert list(units_of_workers._kept) == [("second", tmp_path)]
    units_of_workers.forget("second", tmp_path)
    assert not units_of_workers._kept and not list(tmp_path.iterdir())


def test_a_network_in_many_parts_gives_the_same_bytes_and_leaves_none(net, images, client, plain, tmp_path, monkeypatch):
    monkeypatch.setattr(units_of_workers, "PART", 1000)
    assert len(packed(net).data) > 2000
    assert run(net, images, tmp_path / "run", client=client) == plain
    assert plugins_of(client) == ([], [])
    assert not any(client.run(lambda dask_worker: list(Path(dask_worker.local_directory).rglob("network*"))).values())


class Nothing(distributed.WorkerPlugin):
    """What workers may have."""


def plugins_of(client) -> tuple[list[str], list[str]]:
    """What wel has left at a scheduler: of the workers and of its own."""
    return client.run_on_scheduler(
        lambda dask_scheduler: tuple(
            [name for name in there if name.startswith("wel-")] for there in (dask_scheduler.worker_plugins, dask_scheduler.plugins)
        )
    )


def test_a_scheduler_forgets_what_a_client_has_sent_that_is_gone(client):
    gone = distributed.Client(client.scheduler.address, set_as_default=False)
    sent = cluster.everywhere(gone, "wel-gone", [Nothing(), Nothing()])
    sent.__enter__()
    assert plugins_of(client) == (["wel-gone-0", "wel-gone-1"], ["wel-gone"])
    gone.close()
    while any(plugins_of(client)):
        time.sleep(0.01)
    assert client.run(
        lambda dask_worker: any(name.startswith("wel-gone") for name in dask_worker.plugins), on_error="raise"
    ) == dict.fromkeys(workers_of(client), False)


def workers_of(client) -> list[str]:
    return list(client.scheduler_info(n_workers=-1)["workers"])


def test_nothing_stays_at_a_scheduler_whose_client_goes_on(net, images, client):
    wel.csc(net, images, client=client, **SETTINGS)
    assert plugins_of(client) == ([], []) and not units_of_workers._kept


@pytest.mark.parametrize("dying", [1, 3])
def test_what_a_dying_worker_keeps_from_reaching_the_others_is_sent_again(client, monkeypatch, dying):
    whole, died = client.register_plugin, []

    def register(plugin, name):
        if isinstance(plugin, Nothing) and len(died) < dying:
            died.append(name)
            raise OSError("Stream is closed")
        return whole(plugin, name=name)

    monkeypatch.setattr(client, "register_plugin", register)
    monkeypatch.setattr(cluster, "RECOUNTED", 0)
    if dying < cluster.ATTEMPTS:
        with cluster.everywhere(client, "wel-sent", [Nothing()]):
            assert all(client.run(lambda dask_worker: "wel-sent-0" in dask_worker.plugins).values())
    else:
        with pytest.raises(wel.WelError, match=r"^The network does not reach the workers \(Stream is closed\). Expected"):
            with cluster.everywhere(client, "wel-sent", [Nothing()]):
                pass
    assert plugins_of(client) == ([], [])


def test_a_worker_that_dies_with_an_answer_that_was_not_fetched_is_not_a_lost_scheduler():
    with distributed.Client(processes=False, n_workers=1, threads_per_worker=2, dashboard_address="127.0.0.1:0") as alone:
        futures = []

        def submit(thing):
            futures.append(alone.submit(lambda: thing, pure=False))
            return futures[-1]

        found = cluster.answers(alone, "ab", submit, print)
        first = next(found)
        distributed.wait(futures)
        alone.cluster.scale(0)
        while futures[1].status != "lost":
            time.sleep(0.01)
        alone.cluster.scale(1)
        assert sorted([first, *found]) == [("a", "a"), ("b", "b")]


def test_that_no_workers_are_left_is_told(monkeypatch):
    monkeypatch.setattr(cluster, "RECOUNTED", 0)
    with distributed.Client(processes=False, n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0") as alone:
        told = []

        def tell(sentence):
            told.append(sentence)
            alone.cluster.scale(1)

        alone.cluster.scale(0)
        while workers_of(alone):
            time.sleep(0.01)
        found = cluster.answers(alone, "ab", lambda thing: alone.submit(str.upper, thing, pure=False), tell)
        assert sorted(found) == [("a", "A"), ("b", "B")]
    assert told == ["No workers are left; waiting for others: dask worker ADDRESS."]


def test_workers_have_no_rules_of_the_users(net, images, client):
    class Mine(wel.Rule):
        pass

    wel.register_rule("Conv2D", Mine(), ["gradient"])
    try:
        with pytest.raises(wel.WelError, match=r"workers have no rules of `wel.register_rule` \(Conv2D, gradient\)"):
            wel.csc(net, images, client=client, **SETTINGS)
    finally:
        wel.register_rule("Conv2D", None, ["gradient"])


# --- how they are asked for


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ((1, "tcp://127.0.0.1:1"), "`scheduler`: .* Expected nothing beside `workers`"),
        ((0, None), "`workers`: 0. Expected a whole number from 1"),
        ((10_000, None), "`workers`: 10000. Expected .* at most, the cores of this machine"),
        ((None, "somewhere"), "`scheduler`: 'somewhere'. Expected an address such as tcp://host:8786"),
        *[
            ((None, address), "`scheduler`: .* Expected an address such as tcp://host:8786")
            for address in (
                "127.0.0.1:8786",
                "http://a:1",
                "tcp://a",
                "tcp://:1",
                "tcp://a:b",
                "tcp://a:99999",
                "tcp://[::1",
                "tcp://a:1/b",
            )
        ],
        ((None, "tls://127.0.0.1:1"), "`scheduler`: 'tls://127.0.0.1:1'. Expected certificates in Dask's settings"),
    ],
)
def test_what_cannot_be_asked_for(asked, message):
    with pytest.raises(wel.WelError, match=message), cluster.connected(*asked):
        pass


@pytest.mark.parametrize(
    ("words", "message"),
    [(None, r"that answers \(TimeoutError\)"), (b"SSH-2.0-x\r\n", "what answers there is none"), (bytes(64), "what answers there is none")],
)
def test_something_else_that_listens_is_no_scheduler(monkeypatch, words, message):
    monkeypatch.setattr(cluster, "PATIENCE", 1)
    with socket.create_server((cluster.LOOPBACK, 0)) as listening:
        Thread(target=_speaking, args=(listening, words), daemon=True).start()
        with pytest.raises(wel.WelError, match=message), cluster.connected(None, f"tcp://127.0.0.1:{listening.getsockname()[1]}"):
            pass


def _speaking(listening: socket.socket, words: bytes | None) -> None:
    there, _ = listening.accept()
    with there:
        there.sendall(words or b"")
        while there.recv(1024):
            pass


def test_a_worker_and_a_port_that_nobody_listens_on_are_no_scheduler(monkeypatch):
    monkeypatch.setattr(cluster, "PATIENCE", 1)
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, host=cluster.LOOPBACK, dashboard_address="127.0.0.1:0") as local:
        worker = local.workers[0].worker_address
        with pytest.raises(wel.WelError, match="the address of a scheduler of Dask, not of a worker"), cluster.connected(None, worker):
            pass
        with cluster.connected(None, local.scheduler_address) as client:
            assert cluster.count_workers(client) == 1
    with pytest.raises(wel.WelError, match="that answers .*Timed out"), cluster.connected(None, worker):
        pass


def test_a_client_is_one_of_dasks(net, images):
    with pytest.raises(wel.WelError, match="`client`: 'tcp://127.0.0.1:1'. Expected a dask.distributed.Client"):
        wel.csc(net, images, client="tcp://127.0.0.1:1", **SETTINGS)


def test_a_client_that_is_closed_or_has_lost_its_scheduler_is_refused(net, images, client, monkeypatch):
    closed = distributed.Client(client.scheduler.address, set_as_default=False)
    closed.close()
    with pytest.raises(
        wel.WelError, match="`client`: <Client: No scheduler connected>. Expected a dask.distributed.Client that is connected"
    ):
        wel.csc(net, images, client=closed, **SETTINGS)
    monkeypatch.setattr(client, "status", "connecting")
    with pytest.raises(wel.WelError, match="^The scheduler of the workers is lost. "):
        wel.csc(net, images, client=client, **SETTINGS)


def test_a_scheduler_that_has_no_workers_is_refused(net, images, tmp_path):
    with distributed.Client(processes=False, n_workers=0, dashboard_address="127.0.0.1:0") as alone:
        with pytest.raises(wel.WelError, match="its scheduler has no workers. Expected one or more: dask worker ADDRESS"):
            run(net, images, tmp_path / "run", client=alone)


def test_without_dask_a_sentence_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(wel.WelError, match=r"Expected: pip install 'wel\[dask\]'"), cluster.connected(1, None):
        pass


@pytest.mark.slow
def test_a_worker_that_is_killed_is_replaced(functional, images, tmp_path):
    functional.save(tmp_path / "tiny.h5")
    np.save(tmp_path / "images.npy", images)
    words = f"csc --model {tmp_path}/tiny.h5 --images {tmp_path}/images.npy --preprocess none --methods gradient,lrp_z --batch-size 1 --out"
    command = [sys.executable, "-m", "wel", *words.split()]
    subprocess.run([*command, str(tmp_path / "plain")], check=True, capture_output=True)
    process = subprocess.Popen([*command, str(tmp_path / "run"), "--workers", "1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list((tmp_path / "run" / "parts").glob("*.npz")) if (tmp_path / "run" / "parts").exists() else process.poll() is None:
        time.sleep(0.02)
    workers = [child for child in psutil.Process(process.pid).children(recursive=True) if "spawn_main" in " ".join(child.cmdline())]
    for worker in workers:
        os.kill(worker.pid, signal.SIGKILL)
    assert workers and process.wait(timeout=300) == 0
    assert [(tmp_path / "run" / name).read_bytes() for name in TABLES] == [(tmp_path / "plain" / name).read_bytes() for name in TABLES]


def test_a_worker_that_dies_while_it_is_asked_is_asked_again(monkeypatch):
    dead = {"tcp://a:1": OSError("Stream is closed"), "tcp://b:2": cluster.facts()}
    answers = [dead, {"tcp://b:2": cluster.facts()}, *[dead] * cluster.ATTEMPTS]
    client = types.SimpleNamespace(run=lambda *_, **__: answers.pop(0), run_on_scheduler=lambda function: function())
    monkeypatch.setattr(cluster, "RECOUNTED", 0)
    assert cluster.check_workers(client)["wel"] == wel.__version__ and len(answers) == cluster.ATTEMPTS
    with pytest.raises(wel.WelError, match="the worker tcp://a:1 dies when it is asked what it is. Expected one that stays: "):
        cluster.check_workers(client)
    assert not answers


def test_processes_that_do_not_start_are_begun_anew(monkeypatch):
    begun = []

    def start(**settings):
        begun.append(settings)
        if len(begun) < failing:
            raise RuntimeError("Nanny failed to start.")
        return "a cluster"

    dask = types.SimpleNamespace(LocalCluster=start)
    failing = 3
    assert cluster._started(dask, {"n_workers": 2}) == "a cluster" and begun == [{"n_workers": 2}] * 3
    begun.clear()
    failing = 4
    with pytest.raises(wel.WelError, match="^Invalid value for `workers`: their processes do not start .Nanny failed to start"):
        cluster._started(dask, {})


def test_ctrl_c_reaches_the_command_alone():
    with cluster.connected(1, None) as client:
        assert client.run(lambda: signal.getsignal(signal.SIGINT) is signal.SIG_IGN).popitem()[1]
        assert not [callback for callback in gc.callbacks if "distributed" in str(getattr(callback, "__module__", callback))]
