"""How fast wel's engine is beside others: `make bench`, or

python experiments/benchmarks/run.py --networks vgg16 --methods gradient,lrp_alpha1_beta0
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Callable, Optional, Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pandas as pd  # noqa: E402
import typer  # noqa: E402
from cases import NETWORKS, Case  # noqa: E402
from figure import write_bars  # noqa: E402
from goals import ORIGINALS, YARDSTICKS, ratios  # noqa: E402
from measure import ANALYZERS, STUDIES, Record, measure_first, measure_maps, measure_study, measure_turns  # noqa: E402
from rich.table import Table  # noqa: E402
from subjects import Subject, elsewhere, fastest, native, one_by_one, original, sweep, wrapped, yardstick, zennit  # noqa: E402

from wel.cli.console import console, listed  # noqa: E402
from wel.errors import WelError, invalid, one_of  # noqa: E402
from wel.methods.registry import CSC_METHODS, choose_methods  # noqa: E402
from wel.system.files import written_whole  # noqa: E402
from wel.system.progress import progress  # noqa: E402

COMPARISONS = (*YARDSTICKS, "wrapped", *ORIGINALS, "zennit", "other tensorflow", "one by one", "first innvestigate", "maps", "study")
QUICK_METHODS = "gradient,lrp_alpha1_beta0,lrp_alpha2_beta1,rectgrad"
# without --full: what is compared with other software, and with itself
FEW = ("gradient", "guided_backprop", "lrp_z", "lrp_alpha1_beta0", "lrp_alpha2_beta1", "lrp_cmp_alpha1_beta0", "deeplift_rescale")
ONE = ("lrp_alpha1_beta0",)
# innvestigate takes up to a quarter of an hour to build a ResNet-50
SLOW_BUILDS = ("resnet50",)


def main(
    networks: Annotated[str, typer.Option(help="Of cifar10, vgg16 and resnet50, with commas.")] = ",".join(NETWORKS),
    methods: Annotated[str, typer.Option(help="'all', or names with commas; see `wel methods`.")] = "all",
    compare: Annotated[str, typer.Option(help=f"Of {', '.join(COMPARISONS)}, with commas.")] = ",".join(COMPARISONS[:-1]),
    rounds: Annotated[int, typer.Option(min=1, help="Runs of each, in turns, of which the median counts.")] = 5,
    vectors: Annotated[int, typer.Option(min=2, help="Vectors for the one image.")] = 5,
    quick: Annotated[bool, typer.Option(help="One round of a few methods on cifar10 and vgg16, beside the yardstick.")] = False,
    full: Annotated[bool, typer.Option(help="Also what takes hours: every method with everybody, whole studies.")] = False,
    torch_python: Annotated[Optional[str], typer.Option(envvar="WEL_TORCH_PYTHON", help="An interpreter with zennit.")] = None,
    other_python: Annotated[Optional[str], typer.Option(help="An interpreter that has wel with another TensorFlow.")] = None,
    out: Annotated[Path, typer.Option(help="Where the tables and figures go.")] = Path("runs/bench"),
) -> None:
    """Measures times and memory, and holds them to our goals."""
    if quick:
        networks, methods, compare, rounds = "cifar10,vgg16", QUICK_METHODS, "yardstick,yardstick (fastest),one by one", 1
    plan = _Plan(COMPARISONS if full else listed(compare), rounds, full, torch_python, other_python, out)
    plan.run(_known("networks", listed(networks), NETWORKS), _methods(methods), vectors)


class _Plan:
    """What is compared with what."""

    def __init__(self, compare: Sequence[str], rounds: int, full: bool, torch_python: str | None, other_python: str | None, out: Path):
        self.compare, self.rounds, self.full, self.out = _known("compare", compare, COMPARISONS), rounds, full, out
        self.torch_python = torch_python or (sys.executable if find_spec("zennit") else None)
        self.other_python = other_python

    def run(self, networks: Sequence[str], methods: Sequence[str], vectors: int) -> None:
        record = Record()
        with progress() as bar:
            task = bar.add_task("", total=len(networks) * len(methods))
            for network in networks:
                case = Case.of(network, vectors)
                for method in methods:
                    self._method(record, case, method, lambda text: bar.update(task, description=text))
                    bar.advance(task)
                if "study" in self.compare and network in STUDIES:
                    bar.update(task, description=f"wel csc --model {network}")
                    measure_study(record, network)
        show(record, self.out)

    def _method(self, record: Record, case: Case, method: str, tell: Callable[[str], None]) -> None:
        for beside, pair in self._pairs(method).items():
            tell(f"{case.net.name} {method} beside {beside}")
            measure_turns(record, case, method, beside, pair, self.rounds)
            write_tables(record, self.out)  # hours of work, should it be interrupted
        if "maps" in self.compare and method in ANALYZERS and case.net.name not in SLOW_BUILDS:
            tell(f"{case.net.name} {method}, maps by innvestigate's interface")
            measure_maps(record, case, method, self.rounds)
            write_tables(record, self.out)
        if "first innvestigate" in self.compare:
            tell(f"{case.net.name} {method}, first result")
            measure_first(record, case, method, self.full or method in ONE and case.net.name not in SLOW_BUILDS)
            write_tables(record, self.out)

    def _pairs(self, method: str) -> dict[str, tuple[Subject, Subject]]:
        pairs = {"yardstick": (native, yardstick), "yardstick (fastest)": (fastest, yardstick)}
        if self.other_python:
            pairs["other tensorflow"] = native, elsewhere(self.other_python)
        if self.full or method in FEW:
            pairs.update({"wrapped": (native, wrapped), **dict(zip(ORIGINALS, ((native, original), (fastest, original))))})
            if self.torch_python:
                pairs["zennit"] = native, zennit(self.torch_python)
        if self.full or method in ONE:
            pairs["one by one"] = sweep, one_by_one
        return {beside: pair for beside, pair in pairs.items() if beside in self.compare}


def write_tables(record: Record, folder: Path) -> pd.DataFrame:
    """Writes `seconds.csv` and `ratios.csv`, of which it gives the second."""
    folder.mkdir(parents=True, exist_ok=True)
    runs = record.table()
    found = ratios(runs)
    for name, table in (("seconds", runs), ("ratios", found)):
        with written_whole(folder / f"{name}.csv") as temporary:
            table.to_csv(temporary, index=False)
    return found


def show(record: Record, folder: Path) -> None:
    """Writes tables and figures, and prints what was found."""
    runs, found = record.table(), write_tables(record, folder)
    figures = write_bars(found, folder)
    screen = console()
    screen.print(_printable(found))
    memory = runs.dropna(subset="peak_mb")
    for row in memory.itertuples():
        screen.print(f"{row.network} {row.method}, {row.beside}, {row.whose}: {row.seconds:.1f} s, {row.peak_mb:.0f} MiB", soft_wrap=True)
    for reason in dict.fromkeys(record.left_out.values()):
        keys = [" ".join(key) for key, why in record.left_out.items() if why == reason]
        screen.print(f"Left out: {', '.join(keys)}. {reason}", markup=False, soft_wrap=True)
    screen.print(f"Load while measuring: {runs['load'].median():.1f} on {os.cpu_count()} cores. What else runs makes all times longer.")
    screen.print(f"Tables: {folder}/seconds.csv, {folder}/ratios.csv\nFigures: {', '.join(map(str, figures))}", soft_wrap=True)


def _printable(found: pd.DataFrame) -> Table:
    table = Table("network", "method", "beside", title="Ratios of medians: to the yardstick ours/theirs, else theirs/ours")
    for heading in ("ours s", "theirs s", "runs", "ratio", "goal", "aim", "met"):
        table.add_column(heading, justify="right")
    for row in found.itertuples():
        numbers = [f"{row.ours:.3f}", f"{row.theirs:.3f}", str(row.runs), f"{row.ratio:.2f}"]
        bounds = ["" if number != number else f"{number:g}" for number in (row.goal, row.aim)]
        table.add_row(row.network, row.method, row.beside, *numbers, *bounds, row.met)
    return table


def _methods(names: str) -> list[str]:
    return list(CSC_METHODS) if names == "all" else [method.name for method in choose_methods(listed(names))]


def _known(option: str, names: Sequence[str], known: Sequence[str]) -> list[str]:
    for name in names:
        if name not in known:
            raise invalid(option, name, one_of(known))
    return list(names)


if __name__ == "__main__":
    try:
        typer.run(main)
    except WelError as error:
        raise SystemExit(str(error)) from error
