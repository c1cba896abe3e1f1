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
from typing import Callable, Mapping

import numpy as np
import pandas as pd
from cases import WEIGHTS, Case
from subjects import Run, Subject

from wel.errors import UnsupportedError, WelError

FOLDER = Path(__file__).parent
SLOW = 20.0  # seconds; a subject that takes longer is run once
COLUMNS = ("network", "method", "subject", "seconds", "load", "peak_mb")
# innvestigate's names for what its first result is measured with
ANALYZERS = {"gradient": "gradient", "lrp_z": "lrp.z", "lrp_alpha1_beta0": "lrp.alpha_1_beta_0", "lrp_alpha2_beta1": "lrp.alpha_2_beta_1"}
LONG = {"cifar10": 200, "vgg16": 4}  # images of `wel csc` with all methods
LONG_METHODS = "all methods"


class Record:
    """What was measured, and why something was not.

    Attributes:
        rows: of `COLUMNS`; the load is the machine's, where what else runs makes times longer; peak_mb is of processes of their own.
        left_out: (network, method, subject) -> why.
    """

    def __init__(self):
        self.rows: list[tuple] = []
        self.left_out: dict[tuple[str, str, str], str] = {}

    def add(self, network: str, method: str, subject: str, seconds: float, peak_mb: float = np.nan) -> None:
        """A run that counts."""
        self.rows.append((network, method, subject, seconds, os.getloadavg()[0], peak_mb))

    def table(self) -> pd.DataFrame:
        """The runs as a table."""
        return pd.DataFrame(self.rows, columns=COLUMNS)


def measure_rounds(
    record: Record, case: Case, method: str, subjects: Mapping[str, Subject], rounds: int, tell: Callable[[str], None]
) -> None:
    """Runs the subjects once uncounted, then in turns; one that cannot do the method is left out."""
    with ExitStack() as stack:
        runs: dict[str, Run] = {}
        for name, subject in subjects.items():
            tell(f"{case.net.name} {method}: {name} builds")
            try:
                run = stack.enter_context(subject(case, method))
                run()
                runs[name] = run
            except (UnsupportedError, WelError) as error:
                record.left_out[case.net.name, method, name] = str(error)
        for number in range(rounds):
            tell(f"{case.net.name} {method}: round {number + 1}")
            for name, run in list(runs.items()):
                seconds = run()
                record.add(case.net.name, method, name, seconds)
                if seconds > SLOW:
                    del runs[name]
    gc.collect()  # compiled functions refer to themselves


def measure_first(record: Record, case: Case, method: str, others: bool) -> None:
    """The first result of wel's engine and, where `others`, of innvestigate as it is installed, and the memory of their processes."""
    network = case.net.name
    commands = {"first native": lambda folder: ["first.py", network, method, case.count]}
    if others and method in ANALYZERS:
        commands["first innvestigate"] = lambda folder: ["first_innvestigate.py", *_saved(case, Path(folder)), ANALYZERS[method]]
    for subject, command in commands.items():
        with tempfile.TemporaryDirectory() as folder:
            script, *arguments = command(folder)
            done = _measured([sys.executable, FOLDER / script, *arguments])
        if done["failure"]:
            record.left_out[network, method, subject] = done["failure"]
            continue
        record.add(network, method, subject, float(done["output"].split()[-1]), done["peak_mb"])


def measure_study(record: Record, network: str) -> None:
    """`wel csc` with all methods, from the paper's start layers."""
    with tempfile.TemporaryDirectory() as folder:
        options = ["--model", network, "--limit", LONG[network], "--backend", "native", "--out", Path(folder) / "run"]
        weights = ["--weights", WEIGHTS[network]] if network in WEIGHTS else []
        done = _measured([sys.executable, "-m", "wel", "csc", *options, *weights])
    subject = f"wel csc, {LONG[network]} images"
    if done["failure"]:
        record.left_out[network, LONG_METHODS, subject] = done["failure"]
        return
    record.add(network, LONG_METHODS, subject, done["seconds"], done["peak_mb"])


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
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ}
    done = subprocess.run(full, capture_output=True, text=True, check=True, env=environment)
    found = json.loads(done.stdout)
    lines = done.stderr.split("\n")
    return {**found, "failure": f"Its process ended with code {found['code']}: {''.join(lines[-2:])}" if found["code"] else ""}
