"""What the scripts of the paper share: their options, the networks they run on, and the sheet that keeps what a script found."""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Callable, Iterator, Optional, Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import typer  # noqa: E402
from charts import write_depth_chart, write_quirks_chart, write_rate_chart, write_width_chart  # noqa: E402
from depths import at_inputs, depths, rates  # noqa: E402
from judges import from_output  # noqa: E402
from PIL import Image  # noqa: E402
from quirks import VARIANTS, variant_of  # noqa: E402
from skimage.transform import pyramid_laplacian  # noqa: E402
from trained import FOLDER, top_start, trained  # noqa: E402
from widths import widths  # noqa: E402

import wel  # noqa: E402
from wel.figures.csc import write_csc_figures  # noqa: E402
from wel.figures.saliency import Pictures, write_saliency_figures  # noqa: E402
from wel.figures.sanity import write_cascading_figure, write_random_logit_figure  # noqa: E402
from wel.figures.simulation import write_simulation_figures  # noqa: E402
from wel.figures.spectrum import write_singular_values_figure  # noqa: E402
from wel.images.load import ImageSet, load_images  # noqa: E402
from wel.images.preprocessing import parse_preprocessing  # noqa: E402
from wel.measures.similarity import ssim  # noqa: E402
from wel.methods.fitting import fit_patterns  # noqa: E402
from wel.methods.registry import METHODS, SEMANTICS  # noqa: E402
from wel.networks.graph import Graph  # noqa: E402
from wel.networks.network import Network  # noqa: E402
from wel.studies.saliency import CLASS, ORIGINAL, STAGE, SaliencyResult  # noqa: E402
from wel.system.files import models_folder, written_whole  # noqa: E402
from wel.system.progress import bar_steps  # noqa: E402

RUNS = Path("runs/paper")
BUNDLED = {"vgg16": "cifar10", "resnet50": "resnet20"}  # trained networks of the same kind, small
REAL = {"vgg16": ("vgg16_mri",), "resnet50": ("resnet50_nsfw", "efficientnet_lite0")}  # larger ones, from `make real`
TWO_CLASSES = {
    "vgg16": (283, 156),
    "resnet50": (283, 156),
    "efficientnet_lite0": (283, 156),  # cat and dog, on pictures with both
    "vgg16_mri": (1, 2),  # of natural pictures its two most likely ones
    "resnet50_nsfw": (0, 1),
    "cifar10": (3, 5),
    "resnet20": (3, 5),  # cat and dog, on any picture
}
SALIENCY_FIGURES = ("stages", "classes", "maps")  # what their names begin with, in the order in which they are shown
LEARNED = tuple(name for name, method in METHODS.items() if "patterns" in method.options)
SMALL = (96, 96, 3)  # what networks with random weights take
TRAINED, RANDOM = "trained", "random"
ENLARGED = 40  # pictures of CIFAR-10 that patterns are fitted on, beside the bundled larger ones
SIZES = (5, 10, 20, 50, 100)  # of subsets of the images
LEAST = 15  # pixels that the coarsest band of a map has on a side

Quick = Annotated[bool, typer.Option("--quick", help="A few images: minutes on a CPU.")]
Weights = Annotated[Optional[str], typer.Option(help="File of ImageNet weights, or 'imagenet' for Keras's own (cached, else downloaded).")]
Images = Annotated[Optional[Path], typer.Option(exists=True, file_okay=False, help="Directory of images; the bundled ones by default.")]
Out = Annotated[Path, typer.Option(help="Where the run directories go.")]


@dataclass(frozen=True)
class Subject:
    """A network and its pictures; `weights` says whether it is "trained" or "random", `options` are those of methods."""

    net: Any
    pictures: ImageSet
    weights: str
    options: dict[str, dict] = field(default_factory=dict)

    @property
    def inputs(self) -> np.ndarray:
        """Images as the network takes them."""
        return self.pictures.inputs

    @property
    def labels(self) -> list[int | None]:
        """The images' true classes."""
        return self.pictures.labels

    @property
    def patterns(self) -> str | None:
        """Their file, where they are not bundled with the network."""
        return next((options["patterns"] for options in self.options.values()), None)


def subject(name: str, weights: str | None, images: Path | None, limit: int | None) -> Subject:
    """A network of the zoo and its pictures.

    Args:
        name: of the zoo.
        weights: a file, "imagenet", "random", or None for the bundled ones.
        images: directory, None for the bundled ones.
        limit: how many images at most.
    """
    net = wel.load(name, weights, input_shape=SMALL if weights == RANDOM else None)
    return Subject(net, load_images(net, images, limit=limit), RANDOM if weights == RANDOM else TRAINED)


def subjects(name: str, weights: str | None, images: Path | None, limit: int, bundled: int = 0) -> list[Subject]:
    """The networks of a figure: the paper's with given weights, else those of its kind that were really trained, and the bundled one.

    Args:
        name: "vgg16" or "resnet50".
        weights: of it; a file or "imagenet".
        images: directory, None for the bundled ones.
        limit: how many images at most.
        bundled: how many for the bundled network; 0 where it has a figure of its own, and then random weights will do if there is
            nothing else.
    """
    found = [subject(name, weights, images, limit)] if weights else [of for of in (_real(one, images, limit) for one in REAL[name]) if of]
    if bundled and not weights:
        found.append(subject(BUNDLED[name], None, None, bundled))
    return found or [subject(name, RANDOM, images, limit)]


def _real(name: str, images: Path | None, limit: int) -> Subject | None:
    net = trained(name)
    if net is None:
        return None
    learned = LEARNED if name in REAL["vgg16"] else ()  # which residual networks are not defined for
    options = {method: {"patterns": str(_patterns(net))} for method in learned}
    return Subject(net, load_images(net, images, limit=limit), TRAINED, options)


def _patterns(net: Network) -> Path:
    """A file with patterns of a network, fitted on the bundled pictures and on enlarged ones of CIFAR-10; made where it is not there."""
    path = FOLDER / f"{net.name}_patterns.npz"
    if not path.is_file():
        images = np.concatenate([load_images(net).inputs, enlarged(net, ENLARGED)])
        with bar_steps(f"patterns of {net.name}") as steps:
            fit_patterns(net, images, steps=steps).save(path)
    return path


def enlarged(net: Network, count: int) -> np.ndarray:
    """Bundled pictures of CIFAR-10 at a network's size, as it takes them, (count, height, width, 3)."""
    height, width, channels = net.input_shape
    with np.load(models_folder() / "data" / "cifar10" / "images.npz") as data:
        pictures = [Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC) for picture in data["images"][:count]]
    pixels = np.array([np.asarray(picture) for picture in pictures], "uint8").reshape(-1, height, width, channels)
    return parse_preprocessing(net.architecture.preprocessing)(pixels)


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
            result = wel.csc(of.net, of.inputs, options=of.options, **settings, **kept)
        written = write_csc_figures(result.table, METHODS, self.folder / "figures", result.histograms if histograms else None)
        self.draw([path for path in written if path.stem.startswith("histogram_") == histograms])
        self.table("depths", depths(of.net, result.table))
        if not (joined := skips(of.net, result.table)).empty:
            self.table("skips", joined)

    def quirks(self, of: Subject, **settings: Any) -> None:
        """CSC at the input under each of `quirks.VARIANTS`, for methods that differ between them, from the top start layer."""
        start = top_start(of.net)
        tables = [self._variant(of, start, variant, **settings) for variant in VARIANTS]
        table = pd.concat([one[one["layer"] == "input"] for one in tables], ignore_index=True)
        self.table("quirks", table)
        self.draw(write_quirks_chart(table, self.folder / "figures"))

    def _variant(self, of: Subject, start: str, variant: str, **settings: Any) -> pd.DataFrame:
        with variant_of(of.net, variant) as (methods, semantics), self._study("quirks", of, variant=variant) as kept:
            chosen = {"methods": methods, "start": start, "semantics": semantics}
            return wel.csc(of.net, of.inputs, **chosen, **settings, **kept).table.assign(variant=variant)

    def depth(self, figures: Path) -> None:
        """|cos| at the input by depth, and rates, from the tables that the sheets in a folder have; no study of its own."""
        self.record["runs"].append({"study": "depth", "network": "all networks", "weights": TRAINED, "folder": "depth", "figures": []})
        found = {path.parent.name: pd.read_csv(path) for path in sorted(figures.glob(f"*/csc-*-{TRAINED}-*/depths.csv"))}
        tables = [table[table["semantics"] == SEMANTICS[0]] for table in found.values()]
        ends, slopes = at_inputs(tables), rates(tables)
        self.table("depth", ends)
        self.table("rates", slopes)
        self.draw([*write_depth_chart(ends, self.folder / "figures"), *write_rate_chart(slopes, self.folder / "figures")])

    def widths(self, of: Subject, methods: Sequence[str], vectors: Sequence[int], more: int, **settings: Any) -> None:
        """How wide the interval of CSC's median is for subsets of the images and `more` of CIFAR-10's, by the number of vectors."""
        layers = ("input", of.net.shown(of.net.layers[len(of.net.layers) // 2]))
        images = np.concatenate([of.inputs, enlarged(of.net, more)])
        sizes = [size for size in SIZES if size < len(images)] + [len(images)]
        tables = []
        for count in vectors:
            with self._study("widths", of, variant=f"{count} vectors") as kept:
                tables.append(widths(of.net, images, methods, count, sizes, layers, **settings, **kept))
        table = pd.concat(tables, ignore_index=True)
        self.table("widths_by_vectors", table)
        for layer in layers:
            self.draw(write_width_chart(table[table["layer"] == layer], self.folder / "figures"))

    def random_logit(self, of: Subject, **settings: Any) -> None:
        """`wel.random_logit` and its box plot."""
        with self._study("random_logit", of) as kept:
            result = wel.random_logit(of.net, of.inputs, classes=of.labels, options=of.options, **settings, **kept)
        self.draw(write_random_logit_figure(result.table, result.images, METHODS, self.folder / "figures"))

    def cascading(self, of: Subject, **settings: Any) -> None:
        """`wel.cascading_randomization` and its curves."""
        with self._study("cascading", of) as kept:
            result = wel.cascading_randomization(of.net, of.inputs, classes=of.labels, options=of.options, **settings, **kept)
        self.draw(write_cascading_figure(result.table, METHODS, self.folder / "figures"))

    def saliency(self, of: Subject, **settings: Any) -> SaliencyResult:
        """`wel.saliency` and its maps; `correlations.csv` if the network was randomised."""
        with self._study("saliency", of) as kept:
            result = wel.saliency(of.net, of.inputs, classes=of.labels, options=of.options, **settings, **kept)
        pictures = Pictures(of.pictures.names, of.pictures.pixels, of.net.class_names)
        written = write_saliency_figures(result, METHODS, pictures, self.folder / "figures")
        self.draw(sorted(written, key=lambda path: SALIENCY_FIGURES.index(path.stem.partition("_")[0])))
        if "stages" in settings:
            self.table("correlations", correlations(result))
        return result

    def simulate(self, of: Subject, **settings: Any) -> None:
        """`wel.simulate` and its two figures; learned chains have the subject's weights."""
        with self._study("simulation", of, settings["samples"]) as kept:
            result = wel.simulate(of.net, **settings, **kept)
        self.draw(write_simulation_figures(result.table, self.folder / "figures"))

    def singular_values(self, of: Subject, patterns: Path | None = None) -> None:
        """`wel.singular_values`, its table and its figure; with the subject's patterns unless others are given."""
        with self._study("singular_values", of):
            result = wel.singular_values(of.net, patterns or of.patterns)
        self.table("singular_values", result.table)
        self.draw(write_singular_values_figure(result.table, self.folder / "figures"))

    @contextmanager
    def _study(self, name: str, of: Subject, count: int | None = None, variant: str = "") -> Iterator[dict[str, Any]]:
        """Gives what a study takes beside its settings: run directory, context and progress. An interrupted one goes on."""
        folder = "-".join([name, of.net.name, of.weights, str(count or len(of.inputs)), *variant.split()])
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


def bands(result: SaliencyResult, classes: tuple[int, int]) -> pd.DataFrame:
    """SSIM of two classes' maps band by band: of a Laplacian pyramid, from the map's own size, the finest band, to the coarsest."""
    rows = []
    for method, semantics in dict.fromkeys(key[:2] for key in result.maps):
        both = [result.maps[(method, semantics, f"{CLASS}{index}")] for index in classes]
        for image, pair in enumerate(zip(*both)):
            for one, other in zip(*map(_pyramid, pair)):
                value = ssim(one, other, semantics, METHODS[method].map_percentile)
                rows.append({"method": method, "semantics": semantics, "image": image, "size": min(one.shape), "ssim": value})
    return pd.DataFrame(rows)


def _pyramid(heatmap: np.ndarray) -> list[np.ndarray]:
    return [band for band in pyramid_laplacian(heatmap.astype("float64"), preserve_range=True) if min(band.shape) >= LEAST]


def skips(net: Network, table: pd.DataFrame) -> pd.DataFrame:
    """Median |cos| where a branch and its shortcut have joined, beside the highest in the branch; of CSC from the top start layer."""
    rows, graph = from_output(table), net.graph
    found = []
    for key, of_method in rows.groupby(["method", "semantics"]):
        medians = of_method.set_index("layer_index")["median"]
        for fork, branch in _branches(graph):
            inside = medians[medians.index.isin([graph.index(name) for name in branch])]
            if graph.index(fork) in medians.index and len(inside):
                place = {"method": key[0], "semantics": key[1], "joined_at": net.shown(fork), "images": of_method["images"].iloc[0]}
                found.append({**place, "joined": medians[graph.index(fork)], "branch": inside.max()})
    return pd.DataFrame(found)


def _branches(graph: Graph) -> list[tuple[str, list[str]]]:
    """For each sum of two, the node where its inputs part, and the nodes of the longer way from there to the sum."""
    found = []
    for node in graph.nodes:
        if node.kind == "Add" and len(node.inputs) == 2:
            ways = [{name, *graph.below(name)} for name in node.inputs]
            fork = max(ways[0] & ways[1], key=graph.index)
            found.append((fork, max((sorted(way - {fork, *graph.below(fork)}) for way in ways), key=len)))
    return found


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
