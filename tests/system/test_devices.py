"""wel.system.devices: which GPU is visible, what is refused, what the environment says afterwards; on a machine with or without a GPU."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from wel.backends.native.backend import full_precision
from wel.cli.app import main
from wel.errors import WelError
from wel.system import devices
from wel.system.devices import TF32, VISIBLE, allow_tf32, choose_device, free_gpu_memory, tf32_allowed, used_device, visible_gpu

GPUS = tf.config.list_physical_devices("GPU")
SETTINGS = (VISIBLE, TF32, "CUDA_DEVICE_ORDER", "NVIDIA_TF32_OVERRIDE")


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """None of the settings, and as it was afterwards."""
    for name in SETTINGS:
        monkeypatch.setenv(name, "")  # so that it is put back even where it was not set
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("listed", "number", "expected"),
    [
        (None, 0, "0"),
        (None, 3, "3"),
        ("2,5", 0, "2"),
        ("2,5", 1, "5"),
        ("2, 5 ", 1, "5"),
        ("GPU-8932f937,GPU-5a3c", 1, "GPU-5a3c"),
        ("2,5", 2, "-1"),
        ("", 0, "-1"),
        ("-1", 0, "-1"),
        ("2,-1,5", 0, "2"),
        ("2,-1,5", 1, "-1"),  # CUDA does not see what stands behind a device that is none
        ("2,-1,5", 2, "-1"),
    ],
)
def test_visible_gpu_is_counted_among_those_that_are_visible_already(listed, number, expected):
    assert visible_gpu(listed, number) == expected


@pytest.mark.parametrize("device", ["", "GPU", "tpu", "gpu:", "gpu:-1", "gpu:x", "gpu:0,1", "cpu:0", "auto "])
def test_what_is_no_device_is_refused_and_changes_nothing(device):
    with pytest.raises(WelError, match=f"^Invalid value for `device`: {re.escape(repr(device))}. Expected 'auto', 'cpu', 'gpu' or "):
        choose_device(device)
    assert not {VISIBLE, "CUDA_DEVICE_ORDER"} & set(os.environ)


def test_cpu_hides_all_gpus():
    choose_device("cpu")
    assert os.environ[VISIBLE] == "-1"


@pytest.mark.parametrize(("before", "after"), [(None, "0"), ("3,1", "3"), ("", "-1")])
def test_auto_takes_the_first_gpu(monkeypatch, before, after):
    if before is not None:
        monkeypatch.setenv(VISIBLE, before)
    choose_device("auto")
    assert os.environ[VISIBLE] == after and os.environ["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


@pytest.mark.skipif(bool(GPUS), reason="there is a GPU")
@pytest.mark.parametrize("device", ["gpu", "gpu:0", "gpu:7"])
def test_a_gpu_that_is_not_there_is_refused(device):
    with pytest.raises(WelError, match=f"^Invalid value for `device`: '{device}'. Expected 'auto' or 'cpu': TensorFlow finds no such GPU"):
        choose_device(device)


def test_tf32_is_off_unless_it_is_allowed():
    allow_tf32(False)
    assert os.environ["NVIDIA_TF32_OVERRIDE"] == "0" and not tf32_allowed()
    allow_tf32(True)
    assert tf32_allowed()


def test_what_the_environment_says_of_tf32_stays(monkeypatch):
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    allow_tf32(False)
    assert os.environ["NVIDIA_TF32_OVERRIDE"] == "1"


@pytest.mark.parametrize(
    ("callers", "allowed", "within"),
    [(True, False, False), (True, True, True), (False, True, False), (False, False, False)],
)
def test_engine_computes_with_tf32_only_where_it_is_allowed(monkeypatch, callers, allowed, within):
    setting = tf.config.experimental
    before = setting.tensor_float_32_execution_enabled()
    monkeypatch.setenv(TF32, "1" if allowed else "")
    setting.enable_tensor_float_32_execution(callers)
    try:
        with full_precision():
            assert setting.tensor_float_32_execution_enabled() is within
        assert setting.tensor_float_32_execution_enabled() is callers
    finally:
        setting.enable_tensor_float_32_execution(before)


@pytest.mark.skipif(bool(GPUS), reason="there is a GPU")
def test_without_a_gpu_the_cpu_is_used():
    assert used_device() == f"CPU ({len(os.sched_getaffinity(0))} cores)"
    assert free_gpu_memory() == 0


CHOSEN = """
import json, os, sys
import wel, wel.system.devices
sys.modules["tensorflow"] = None  # importing it is an error now
from wel.cli.app import main
before = set(sys.modules)
try:
    main(sys.argv[1:])
except SystemExit as ended:
    code = ended.code or 0
names = ("CUDA_VISIBLE_DEVICES", "TF_FORCE_GPU_ALLOW_GROWTH", "NVIDIA_TF32_OVERRIDE", "WEL_ALLOW_TF32")
print(json.dumps([code, *map(os.environ.get, names)]))
"""


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], ["0", "true", "0", None]),
        (["--device", "cpu"], ["-1", "true", "0", None]),
        (["--device", "cpu", "--allow-tf32"], ["-1", "true", None, "1"]),
    ],
)
def test_options_reach_the_environment_before_tensorflow_is_imported(options, expected, tmp_path):
    plain = {name: value for name, value in os.environ.items() if name not in (*SETTINGS, "TF_FORCE_GPU_ALLOW_GROWTH")}
    command = [sys.executable, "-c", CHOSEN, "csc", "--methods", "nope", *options]
    environment = {**plain, "PYTHONPATH": str(Path(devices.__file__).parents[2])}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [2, *expected]


@pytest.mark.parametrize("command", ["csc", "random-logit", "cascading", "saliency", "simulate", "singular-values", "verify"])
def test_every_study_has_the_options(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    printed = capsys.readouterr().out
    assert "--device" in printed and "--allow-tf32" in printed


def test_a_run_says_on_which_device_it_was_computed(functional, tmp_path, capsys):
    functional.save(tmp_path / "tiny.h5")
    options = ["--methods", "gradient", "--vectors", "2", "--images", str(tmp_path), "--out", str(tmp_path / "run")]
    tf.keras.utils.save_img(tmp_path / "grey.png", 0.5 * tf.ones((8, 8, 3)).numpy(), scale=True)
    with pytest.raises(SystemExit) as ended:
        main(["csc", "--model", str(tmp_path / "tiny.h5"), *options])
    assert not ended.value.code
    assert f"TensorFlow computes on: {used_device()}" in capsys.readouterr().err
    assert json.loads((tmp_path / "run" / "run.json").read_text())["device"] == used_device()
