"""What the scripts of the paper share: their options, the networks they run on, and the sheet that keeps what a script found."""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Callable, Iterator, Optional, Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import typer  # noqa: E402

import wel  # noqa: E402
from wel.figures.csc import write_csc_figures  # noqa: E402
from wel.figures.saliency import Pictures, write_saliency_figures  # noqa: E402
from wel.figures.sanity import write_cascading_figure, write_random_logit_figure  # noqa: E402
from wel.figures.simulation import write_simulation_figures  # noqa: E402
from wel.figures.spectrum import write_singular_values_figure  # noqa: E402
from wel.images.load import ImageSet, load_images  # noqa: E402
from wel.methods.registry import METHODS  # noqa: E402
from wel.studies.saliency import ORIGINAL, STAGE, SaliencyResult  # noqa: E402
from wel.system.files import written_whole  # noqa: E402
from wel.system.progress import bar_steps  # noqa: E402

RUNS = Path("runs/paper")
STAND_INS = {"vgg16": "cifar10", "resnet50": "resnet20"}  # trained networks of the same kind, bundled with wel
TWO_CLASSES = {  # on pictures with both animals, and for CIFAR-10 on any picture
    "vgg16": (283, 156),
    "resnet50": (283, 156),
    "cifar10": (3, 5),
    "resnet20": (3, 5),  # cat and dog
}
SALIENCY_FIGURES = ("stages", "classes", "maps")  # what their names begin with, in the order in which they are shown
SMALL = (96, 96, 3)  # what networks with random weights take
TRAINED, RANDOM = "trained", "random"

Quick = Annotated[bool, typer.Option("--quick", help="A few images: minutes on a CPU.")]
Weights = Annotated[Optional[str], typer.Option(help="File of ImageNet weights, or 'imagenet' for Keras's own (cached, else downloaded).")]
Images = Annotated[Optional[Path], typer.Option(exists=True, file_okay=False, help="Directory of images; the bundled ones by default.")]
Out = Annotated[Path, typer.Option(help="Where the run directories go.")]


@dataclass(frozen=True)
class Subject:
    """A network and its pictures; `weights` says whether it is "trained" or "random"."""

    net: Any
    pictures: ImageSet
    weights: str

    @property
    def inputs(self) -> np.ndarray:
        """Images as the network takes them."""
        return self.pictures.inputs

    @property
    def labels(self) -> list[int | None]:
        """The images' true classes."""
        return self.pictures.labels


def subject(name: str, weights: str | None, images: Path | None, limit: int | None, stand_in: bool = False) -> Subject:
    """The network of a figure. vgg16 and resnet50 without weights: the trained stand-in if it will do, else random weights, 96×96.

    Args:
        name: of the zoo.
        weights: a file, "imagenet", "random", or None.
        images: directory, None for the bundled ones.
        limit: how many images at most.
        stand_in: whether random weights are no use.
    """
    if name in STAND_INS and weights is None:
        name, weights = (STAND_INS[name], None) if stand_in else (name, RANDOM)
    shape = SMALL if name in STAND_INS and weights == RANDOM else None
    net = wel.load(name, weights, input_shape=shape)
    return Subject(net, load_images(net, images, limit=limit), RANDOM if weights == RANDOM else TRAINED)


class Sheet:
    """One figure or table of the paper: its run directories, and `sheet.json`, what `page` needs to show them."""

    def __init__(self, out: Path, figure: str, title: str, quick: bool):
        """`out`: the directory, made if need be; `figure`: as the paper calls it; `title`: what it shows; `quick`: with fewer images."""
        self.out = out
        self.record = {"figure": figure, "title": title, "quick": quick, "runs": []}
        out.mkdir(parents=True, exist_ok=True)

    def csc(self, of: Subject, histograms: bool = False, **settings: Any) -> None:
        """`wel.csc`, drawn as lines per start layer, or as histograms at the input."""
        with self._study("csc", of) as kept:
            result = wel.csc(of.net, of.inputs, **settings, **kept)
        written = write_csc_figures(result.table, METHODS, self.folder / "figures", result.histograms)
        self.draw([path for path in written if path.stem.startswith("histogram_") == histograms])

    def random_logit(self, of: Subject, **settings: Any) -> None:
        """`wel.random_logit` and its box plot."""
        with self._study("random_logit", of) as kept:
            result = wel.random_logit(of.net, of.inputs, classes=of.labels, **settings, **kept)
        self.draw(write_random_logit_figure(result.table, result.images, METHODS, self.folder / "figures"))

    def cascading(self, of: Subject, **settings: Any) -> None:
        """`wel.cascading_randomization` and its curves."""
        with self._study("cascading", of) as kept:
            result = wel.cascading_randomization(of.net, of.inputs, classes=of.labels, **settings, **kept)
        self.draw(write_cascading_figure(result.table, METHODS, self.folder / "figures"))

    def saliency(self, of: Subject, **settings: Any) -> None:
        """`wel.saliency` and its maps; `correlations.csv` if the network was randomised."""
        with self._study("saliency", of) as kept:
            result = wel.saliency(of.net, of.inputs, classes=of.labels, **settings, **kept)
        pictures = Pictures(of.pictures.names, of.pictures.pixels, of.net.class_names)
        written = write_saliency_figures(result, METHODS, pictures, self.folder / "figures")
        self.draw(sorted(written, key=lambda path: SALIENCY_FIGURES.index(path.stem.partition("_")[0])))
        if "stages" in settings:
            self.table("correlations", correlations(result))

    def simulate(self, of: Subject, **settings: Any) -> None:
        """`wel.simulate` and its two figures; learned chains have the subject's weights."""
        with self._study("simulation", of, settings["samples"]) as kept:
            result = wel.simulate(of.net, **settings, **kept)
        self.draw(write_simulation_figures(result.table, self.folder / "figures"))

    def singular_values(self, of: Subject, patterns: Path | None = None) -> None:
        """`wel.singular_values`, its table and its figure."""
        with self._study("singular_values", of):
            result = wel.singular_values(of.net, patterns)
        self.table("singular_values", result.table)
        self.draw(write_singular_values_figure(result.table, self.folder / "figures"))

    @contextmanager
    def _study(self, name: str, of: Subject, count: int | None = None) -> Iterator[dict[str, Any]]:
        """Gives what a study takes beside its settings: run directory, context and progress. An interrupted one goes on."""
        folder = f"{name}-{of.net.name}-{of.weights}-{count or len(of.inputs)}"
        self.record["runs"].append({"study": name, "network": of.net.name, "weights": of.weights, "folder": folder, "figures": []})
        with bar_steps(f"{self.record['figure']}, {of.net.name}") as steps:
            yield {"out": self.folder, "context": of.pictures.record(of.net), "steps": steps}

    @property
    def folder(self) -> Path:
        """The run directory of the last study."""
        return self.out / self.record["runs"][-1]["folder"]

    def table(self, name: str, table: pd.DataFrame) -> None:
        """Writes a table into the last study's run directory."""
        self.folder.mkdir(parents=True, exist_ok=True)
        _write(self.folder / f"{name}.csv", table.to_csv(index=False))

    def draw(self, files: Sequence[Path]) -> None:
        """Keeps figures of the last study for the page."""
        pictures = [str(path.relative_to(self.out)) for path in files if path.suffix == ".png"]
        self.record["runs"][-1]["figures"] += pictures

    def close(self) -> None:
        """Writes `sheet.json`."""
        _write(self.out / "sheet.json", json.dumps(self.record, indent=2, ensure_ascii=False) + "\n")
        print(f"{self.record['figure']}: {self.out}")


def correlations(result: SaliencyResult) -> pd.DataFrame:
    """Pearson's correlation of each map of a randomised network with the untouched network's: below 0 the sign has flipped."""
    rows = []
    for (method, semantics, view), maps in result.maps.items():
        if view.startswith(STAGE):
            for image, pair in enumerate(zip(result.maps[(method, semantics, ORIGINAL)], maps)):
                with np.errstate(invalid="ignore"):  # a constant map has no correlation
                    value = np.corrcoef(*map(np.ravel, pair))[0, 1]
                place = {"method": method, "semantics": semantics, "stage": view.removeprefix(STAGE), "image": image}
                rows.append({**place, "correlation": value})
    return pd.DataFrame(rows)


def start(main: Callable) -> None:
    """Runs a script; what a user did wrong ends in one sentence and exit code 2."""
    try:
        typer.run(main)
    except wel.WelError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        sys.exit(2)


def _write(path: Path, text: str) -> None:
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
