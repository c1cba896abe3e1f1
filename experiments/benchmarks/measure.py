"""Interleaved rounds, and commands in processes of their own."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import tempfile
import warnings
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd
from cases import WEIGHTS, Case
from subjects import Subject, analyzer

from wel.errors import WelError
from wel.system.arithmetic import CHOICE
from wel.system.environments import WRAPPED, outside

FOLDER = Path(__file__).parent
SLOW = 20.0  # seconds; a subject that takes longer is run once
COLUMNS = ("network", "method", "beside", "whose", "seconds", "load", "peak_mb")
# innvestigate's names for what its first result is measured with
ANALYZERS = {
    "gradient": "gradient",
    "lrp_z": "lrp.z",
    "lrp_epsilon": "lrp.epsilon",
    "lrp_alpha1_beta0": "lrp.alpha_1_beta_0",
    "lrp_alpha2_beta1": "lrp.alpha_2_beta_1",
}
FIRSTS = 3  # processes whose first maps are measured
STUDIES = {"cifar10": 200, "vgg16": 4}  # images of `wel csc` with all methods


class Record:
    """What was measured, and why something was not.

    Attributes:
        rows: of `COLUMNS`; the load is the machine's, where what else runs makes times longer; peak_mb is of processes of their own.
        left_out: (network, method, beside) -> why.
    """

    def __init__(self):
        self.rows: list[tuple] = []
        self.left_out: dict[tuple[str, str, str], str] = {}

    def add(self, network: str, method: str, beside: str, whose: str, seconds: float, peak_mb: float = np.nan) -> None:
        """A run that counts, "ours" or "theirs"."""
        self.rows.append((network, method, beside, whose, seconds, os.getloadavg()[0], peak_mb))

    def table(self) -> pd.DataFrame:
        """The runs as a table."""
        return pd.DataFrame(self.rows, columns=COLUMNS)


def measure_turns(record: Record, case: Case, method: str, beside: str, pair: tuple[Subject, Subject], rounds: int) -> None:
    """Runs two subjects, ours first, once uncounted and then in turns; nothing is kept where one cannot do the method."""
    with ExitStack() as stack:
        try:
            runs = {}
            for whose, subject in zip(("theirs", "ours"), reversed(pair)):  # theirs first: if it is not there, nothing is built
                runs[whose] = stack.enter_context(subject(case, method))
                runs[whose]()
        except WelError as error:
            record.left_out[case.net.name, method, beside] = str(error)
            return
        for _ in range(rounds):
            for whose, run in list(runs.items()):
                seconds = run()
                record.add(case.net.name, method, beside, whose, seconds)
                if seconds > SLOW:
                    del runs[whose]
    gc.collect()  # compiled functions refer to themselves


def measure_first(record: Record, case: Case, method: str, others: bool) -> None:
    """The first result of wel's engine and, where `others`, of innvestigate as it is installed, and the memory of their processes."""
    network, beside = case.net.name, "first innvestigate"
    ours, theirs = FOLDER / "first.py", FOLDER / "first_innvestigate.py"
    commands = {"ours": lambda folder: [sys.executable, ours, network, method, case.count]}
    if others and method in ANALYZERS:
        commands["theirs"] = lambda folder: [WRAPPED.python(), theirs, *_saved(case, Path(folder)), ANALYZERS[method]]
    for whose, command in commands.items():
        with tempfile.TemporaryDirectory() as folder:
            done = _measured(command(folder))
        if done["failure"]:
            record.left_out[network, method, beside] = done["failure"]
            continue
        record.add(network, method, beside, whose, float(done["output"].split()[-1]), done["peak_mb"])


def measure_maps(record: Record, case: Case, method: str, rounds: int) -> None:
    """The first and further maps of an image by innvestigate's interface, of wel's and of the installed one, in turns; and CPU seconds.

    Ours is with TensorFlow's fastest arithmetic, unless the environment names another one: so is innvestigate's.
    """
    network, name = case.net.name, ANALYZERS[method]
    with tempfile.TemporaryDirectory() as folder:
        files = [*map(str, _saved(case, Path(folder))), name]
        environment = {CHOICE: os.environ.get(CHOICE, "fastest")}
        subjects = {
            "ours": lambda: analyzer(sys.executable, "wel.innvestigate", *files, environment=environment),
            "theirs": lambda: analyzer(str(WRAPPED.python()), "innvestigate", *files),
        }
        for _ in range(FIRSTS):
            with ExitStack() as stack:
                runs = {whose: stack.enter_context(subject()) for whose, subject in subjects.items()}
                _add_maps(record, network, method, "first map", runs)
                for _ in range(rounds):
                    _add_maps(record, network, method, "further maps", runs)


def _add_maps(record: Record, network: str, method: str, beside: str, runs: dict) -> None:
    for whose, run in runs.items():
        took = run()
        record.add(network, method, beside, whose, took["seconds"])
        record.add(network, method, f"{beside}, CPU", whose, took["cpu"])


def measure_study(record: Record, network: str) -> None:
    """`wel csc` with all methods, from the paper's start layers."""
    with tempfile.TemporaryDirectory() as folder:
        options = ["--model", network, "--limit", STUDIES[network], "--backend", "native", "--out", Path(folder) / "run"]
        weights = ["--weights", WEIGHTS[network]] if network in WEIGHTS else []
        done = _measured([sys.executable, "-m", "wel", "csc", *options, *weights])
    key = network, "all", f"wel csc of {STUDIES[network]} images"
    if done["failure"]:
        record.left_out[key] = done["failure"]
    else:
        record.add(*key, "ours", done["seconds"], done["peak_mb"])


def _saved(case: Case, folder: Path) -> list[Path]:
    model, images = folder / "network.h5", folder / "images.npy"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras would rather write its own format, which innvestigate's mode cannot read
        case.net.model.save(model, save_format="h5", include_optimizer=False)
    np.save(images, case.images)
    return [model, images]


def _measured(command: list) -> dict:
    """What `measured.py` says of a command, and in `failure` the last line of its complaint, "" if it went well."""
    full = [sys.executable, str(FOLDER / "measured.py"), *map(str, command)]
    environment = outside({"TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "3")})
    done = subprocess.run(full, capture_output=True, text=True, check=True, env=environment)
    found = json.loads(done.stdout)
    lines = done.stderr.split("\n")
    return {**found, "failure": f"Its process ended with code {found['code']}: {''.join(lines[-2:])}" if found["code"] else ""}
