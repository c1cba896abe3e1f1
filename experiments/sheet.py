"""A sheet: one figure or table of the paper, and what was run for it."""

from __future__ import annotations

import json
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Iterator, Sequence

import numpy as np
import pandas as pd
from charts import write_depth_chart, write_quirks_chart, write_rate_chart, write_width_chart
from depths import at_inputs, depths, most_images, rates
from quirks import VARIANTS, variant_of
from skips import skips
from subject import TRAINED, Subject, enlarged
from trained import top_start
from widths import widths

import wel
from wel.figures.csc import write_csc_figures
from wel.figures.saliency import Pictures, write_saliency_figures
from wel.figures.sanity import write_cascading_figure, write_random_logit_figure
from wel.figures.simulation import write_simulation_figures
from wel.figures.spectrum import write_singular_values_figure
from wel.figures.tcav import write_tcav_figure
from wel.images.concepts import more_pictures, with_concept
from wel.images.load import load_images, repainted
from wel.methods.registry import METHODS
from wel.studies.saliency import ORIGINAL, STAGE, SaliencyResult
from wel.studies.tcav import CONTROL
from wel.system.files import written_whole
from wel.system.progress import bar_steps

SALIENCY_FIGURES = ("stages", "classes", "maps")  # what their names begin with, in the order in which they are shown
FEWER_SAMPLES = {"smoothgrad": {"samples": 10}, "integrated_gradients": {"steps": 16}}
CONCEPTS = ("stripes", "checks", "red")
SIZES = (5, 10, 20, 50, 100)  # of subsets of the images


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
        found = [pd.read_csv(path) for path in sorted(figures.glob(f"*/csc-*-{TRAINED}-*/depths.csv"))]
        tables = most_images(found)
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
            result = wel.cascading_randomization(of.net, of.inputs, classes=of.labels, options=self._options(of), **settings, **kept)
        self.draw(write_cascading_figure(result.table, METHODS, self.folder / "figures"))

    def sensitive(self, of: Subject, methods: Sequence[str], **settings: Any) -> None:
        """`wel.cascading_randomization` down to the last of the network's stages, and down to the one in the middle."""
        names = of.net.architecture.randomized_layers
        layers = list(dict.fromkeys([names[-1], names[len(names) // 2]]))
        with self._study("sensitive", of) as kept:
            chosen = {"methods": methods, "layers": layers, "classes": of.labels, "options": self._options(of)}
            result = wel.cascading_randomization(of.net, of.inputs, **chosen, **settings, **kept)
        self.table("sensitive", result.table)
        self.draw(write_cascading_figure(result.table, METHODS, self.folder / "figures"))

    def concepts(self, of: Subject, pool: int, **settings: Any) -> None:
        """`wel.tcav` of concepts that wel makes, in the trained network and in the one whose last stage is random."""
        given = load_images(of.net)
        made = {name: partial(with_concept, name, seed=0) for name in CONCEPTS}
        drawn = {
            name: repainted(of.net, given, lambda pixels, paint=paint: paint(more_pictures(pixels, pool, 0))[:pool])
            for name, paint in {**made, CONTROL: lambda pixels: pixels}.items()
        }
        random = drawn.pop(CONTROL)
        with self._study("concepts", of) as kept:
            chosen = {"classes": of.labels, "stages": [of.net.architecture.randomized_layers[-1]]}
            result = wel.tcav(of.net, of.inputs, drawn, random, **chosen, **settings, **kept)
        self.table("concepts", result.table)
        self.draw(write_tcav_figure(result.table, self.folder / "figures"))

    def saliency(self, of: Subject, **settings: Any) -> SaliencyResult:
        """`wel.saliency` and its maps; `correlations.csv` if the network was randomised."""
        with self._study("saliency", of) as kept:
            result = wel.saliency(of.net, of.inputs, classes=of.labels, options=self._options(of), **settings, **kept)
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

    def _options(self, of: Subject) -> dict[str, dict]:
        """Of studies with many maps of an image: some methods have fewer samples on a quick sheet, for they take as long as all others."""
        return {**of.options, **(FEWER_SAMPLES if self.record["quick"] else {})}

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


def _write(path: Path, text: str) -> None:
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
