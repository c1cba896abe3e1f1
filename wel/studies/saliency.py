"""Saliency maps for the eye: of the true class, of two classes beside each other, and of a network randomised stage by stage.

A run directory holds `saliency_images.csv` and `saliency.csv` (`SaliencyResult.images` and `.table`), and for every method and
semantics `maps/<method>_<semantics>.npz` with float32 arrays (n, height, width), images in the order of the study:

    raw/<view>          the map with its channels reduced (`wel.measures.similarity.reduce_channels`)
    normalised/<view>   the same in [−1, 1], as it is drawn (`normalised`)
    absolute/<view>     of the views of two classes only: in [0, 1], what their L1 distance is measured on (`absolute`)

Views: `original`, the true class; `class_<index>`; `stage_<layer>`, the true class in the network that is randomised from its last
layer down to that one.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import chain
from numbers import Integral
from pathlib import Path
from typing import Any, Iterator, Mapping, NamedTuple, Sequence
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from wel.errors import WelError, invalid
from wel.measures.similarity import SSIM_WINDOW, absolute, class_distance, normalised, reduce_channels
from wel.methods.registry import GIVEN, METHODS, Names, choose_map_methods
from wel.networks.network import Network
from wel.studies.cascading import STAGES_AT_ONCE, choose_stages, fresh_from, made_random, randomized
from wel.studies.map_study import Block, MapStudy, head, is_swept
from wel.studies.study import Settings, run_study
from wel.studies.tops import Tops, Weights
from wel.studies.units import Cell, Work
from wel.system.files import file_stem, written_whole
from wel.system.progress import Steps
from wel.system.runs import Run

ORIGINAL = "original"
MAPS = "maps"
CLASS, STAGE = "class_", "stage_"  # what the names of the other views begin with
MOST_LIKELY = 5
DISTANCES = ("model", "method", "semantics", "backend", "image", "class_a", "class_b", "l1")
TEXT_COLUMNS = ("model", "method", "semantics", "backend", "class_from", "top5")
# (method, semantics, view) -> (n, height, width) float32
Maps = dict[tuple[str, str, str], np.ndarray]


@dataclass(frozen=True)
class SaliencyResult:
    """What the study made.

    Attributes:
        maps: (method, semantics, view) -> maps with their channels reduced, (n, height, width) float32; in the order of the study.
        images: one row per image: model, image, true_class, class_from ("label" or "prediction"), top5 (classes, most likely first).
        table: one row per method, semantics and image: how far the maps of two classes lie apart, `l1`; empty without two classes.
        skipped: methods of "all" that do not apply to the network, and why.
    """

    maps: Maps
    images: pd.DataFrame
    table: pd.DataFrame
    skipped: dict[str, str] = field(default_factory=dict)


class View(NamedTuple):
    """What a method is asked for: maps of `classes` (n,), in the network randomised down to `stage` if there is one."""

    name: str
    classes: np.ndarray
    stage: str | None = None


def stages_of(views: Sequence[View]) -> list[str]:
    """The stages of views that have one."""
    return [view.stage for view in views if view.stage]


@dataclass(frozen=True, eq=False)
class Views:
    """Computes a unit: the maps of all views of some images with their channels reduced, "maps/view"."""

    block: Block
    views: tuple[View, ...]

    def __call__(self, work: Work) -> dict[str, np.ndarray]:
        fresh, tops = made_random(work.opening, stages_of(self.views), self.block.seed)
        together = [view for view in self.views if is_swept(work) and view.stage in (None, *tops.stages)]
        apart = [view for view in self.views if all(view is not one for one in together)]
        made = chain(self._swept(work, together, tops), self._one_by_one(work, apart, fresh))
        return {f"{MAPS}/{view.name}": reduce_channels(maps, work.request.method.reduction) for view, maps in made}

    def _swept(self, work: Work, views: Sequence[View], tops: Tops) -> Iterator[tuple[View, np.ndarray]]:
        """Views with their maps, several of them in each sweep."""
        for some in (views[first : first + STAGES_AT_ONCE] for first in range(0, len(views), STAGES_AT_ONCE)):
            heads: dict[str | None, list] = {}
            for view in some:
                begin, times_logit = head(work, view.classes)
                heads.setdefault(view.stage, []).append(begin)
            stacked = {stage: np.stack(several, axis=1) for stage, several in heads.items()}
            maps = tops.maps(work.opened, work.request, work.images, stacked, times_logit, self.block.seed, number=self.block.first)
            rows = {stage: iter(np.moveaxis(several, 1, 0)) for stage, several in maps.items()}
            yield from ((view, next(rows[view.stage])) for view in some)

    def _one_by_one(self, work: Work, views: Sequence[View], fresh: Weights) -> Iterator[tuple[View, np.ndarray]]:
        explain = self.block.explainer(work)
        for view in views:
            with randomized(work.net, view.stage, fresh) if view.stage else nullcontext():
                yield view, explain(work.net, work.images, view.classes)


def saliency(
    net: Network,
    images: np.ndarray,
    methods: Names = "all",
    classes: Sequence[int | None] | None = None,
    compare: tuple[int, int] | None = None,
    stages: Sequence[str] | str | None = None,
    seed: int = 0,
    backend: str = "native",
    semantics: str = "paper",
    options: Mapping[str, dict] | None = None,
    out: Path | None = None,
    context: dict[str, Any] | None = None,
    steps: Steps | None = None,
    client: Any = None,
) -> SaliencyResult:
    """Makes the maps of the paper's figures 1 and 6: of every image's true class, of two classes, and stage by stage.

    Randomised networks are those of `wel.cascading_randomization` with the same seed. `net` itself is randomised meanwhile;
    afterwards it holds its own weights, whatever has happened.

    Args:
        net: from `wel.load`; its output is one vector of logits.
        images: (n, *input shape), as the network takes them.
        methods: "all", those of the paper's figures that apply to the network, or names.
        classes: the true class of each image; where it is None, or by default, the top-1 prediction.
        compare: two classes whose maps are made and compared, for every image.
        stages: layers that the network is randomised down to: names, "all" with weights, or "paper", the zoo's (all for other networks).
        seed: of the fresh weights and of SmoothGrad's noise.
        backend: who computes.
        semantics: "paper", "corrected" or "both".
        options: {method: {option: value}}.
        out: run directory; nothing is written without it.
        context: kept in `run.json` beside the settings.
        steps: is told of progress, (method × semantics × image) steps in all.
        client: a `dask.distributed.Client`, whose workers compute; the numbers stay the same to the last bit.

    Raises:
        WelError: for anything in the arguments that cannot be used, or a layer that cannot be randomised.
    """
    settings = Settings(net, images, choose_map_methods(methods), methods == "all", semantics, backend, options, seed, client=client)
    study = MapStudy(settings, classes)
    if not study.drawn:
        expected = f"(height, width, channels) of {SSIM_WINDOW} × {SSIM_WINDOW} or more, for maps to look at"
        raise WelError(f"Invalid value for `model`: '{net.name}' takes inputs of shape {net.input_shape}. Expected {expected}.")
    views = _views(study, compare, stages)
    fresh, _ = made_random(study.opening, stages_of(views), seed)
    for stage in stages_of(views):
        fresh_from(net, stage, fresh)  # what cannot be made random is told before any work

    def make(run: Run) -> SaliencyResult:
        maps = _made(study, run, views, steps)
        result = SaliencyResult(maps, _images(study), _distances(study, maps, compare), study.skipped)
        _write(run, result)
        return result

    return run_study(out, {"study": "saliency", **study.record(), "views": [view.name for view in views]}, context, make, _read)


def check_compared(compare: Sequence[int], count: int | None = None, argument: str = "compare") -> tuple[int, int]:
    """Two different classes, of `count` if that is known.

    Raises:
        WelError: for anything else; it names the argument.
    """
    found = list(compare) if isinstance(compare, (Sequence, np.ndarray)) and not isinstance(compare, str) else [compare]
    fits = all(isinstance(one, Integral) and 0 <= one and (count is None or one < count) for one in found)
    if not fits or len(found) != 2 or found[0] == found[1]:
        expected = "two different classes, whole numbers from 0" + (f" to {count - 1}" if count else " on")
        raise invalid(argument, compare, expected)
    return int(found[0]), int(found[1])


def _views(study: MapStudy, compare, stages) -> list[View]:
    net, true = study.net, study.classes.index
    views = [View(ORIGINAL, true)]
    if compare is not None:
        for one in check_compared(compare, net.output_shape[0]):
            views.append(View(f"{CLASS}{one}", np.full_like(true, one)))
    if stages is not None:
        views += [View(f"{STAGE}{net.shown(stage)}", true, stage) for stage in named_stages(net, stages)]
    return views


def named_stages(net: Network, names: Sequence[str] | str) -> list[str]:
    """Nodes at which the network is randomised, from the last one down, for names, "all" with weights, or "paper", the zoo's.

    Raises:
        WelError: for an unknown layer, or one at and after which there are no weights.
    """
    if names in ("paper", "all"):
        return choose_stages(net, None if names == "paper" else names)
    return choose_stages(net, [net.find(name, "stages") for name in ([names] if isinstance(names, str) else names)])


def _made(study: MapStudy, run: Run, views: Sequence[View], steps: Steps | None) -> Maps:
    """The maps, from what an interrupted run has left and what is still to be done."""

    def make(block: Block) -> Views:
        return Views(block, tuple(view._replace(classes=block.of(view.classes)) for view in views))

    found = study.found(run, steps, len(views), make)
    return {(*cell_name(cell), view.name): parts[MAPS][view.name] for cell, parts in found.items() for view in views}


def cell_name(cell: Cell) -> tuple[str, str]:
    """Method and semantics, as maps are found by."""
    return cell.method.name, cell.semantics


def _images(study: MapStudy) -> pd.DataFrame:
    logits = study.net.logits(study.images)
    likely = np.argsort(-logits, axis=1, kind="stable")[:, :MOST_LIKELY]
    return pd.DataFrame(
        {
            "model": study.net.name,
            "image": np.arange(len(study.images)),
            "true_class": study.classes.index,
            "class_from": study.classes.known_from,
            "top5": [" ".join(map(str, row)) for row in likely],
        }
    )


def _distances(study: MapStudy, maps: Maps, compare: Sequence[int] | None) -> pd.DataFrame:
    rows = []
    for cell in study.cells if compare is not None else ():
        one, other = (maps[(*cell_name(cell), f"{CLASS}{index}")] for index in compare)
        for image, pair in enumerate(zip(one, other)):
            place = {"image": image, "class_a": int(compare[0]), "class_b": int(compare[1])}
            rows.append({**study.row(cell), **place, "l1": class_distance(*pair, cell.method.map_percentile)})
    return pd.DataFrame(rows, columns=list(DISTANCES))


def _write(run: Run, result: SaliencyResult) -> None:
    (run.folder / "maps").mkdir(exist_ok=True)
    for key in dict.fromkeys(key[:2] for key in result.maps):
        arrays = _arrays(*key, {view: maps for (*made_by, view), maps in result.maps.items() if tuple(made_by) == key})
        with written_whole(_file(run, *key)) as path, open(path, "wb") as file:
            np.savez(file, **arrays)
    run.write_table("saliency_images.csv", result.images)
    run.write_table("saliency.csv", result.table)
    run.finish(skipped=result.skipped, cells=list(dict.fromkeys(key[:2] for key in result.maps)))


def _file(run: Run, method: str, semantics: str) -> Path:
    return run.folder / "maps" / f"{file_stem(method)}_{semantics}.npz"


def _arrays(method: str, semantics: str, views: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    percentile = METHODS.get(method, GIVEN).map_percentile
    arrays = {f"raw/{view}": maps for view, maps in views.items()}
    for view, maps in views.items():
        arrays[f"normalised/{view}"] = np.stack([normalised(one, percentile) for one in maps])
        if view.startswith(CLASS):
            arrays[f"absolute/{view}"] = np.stack([absolute(one, percentile) for one in maps])
    return arrays


def _read(run: Run) -> SaliencyResult:
    context, maps = run.record["context"], {}
    try:
        for method, semantics in context["cells"]:
            with np.load(_file(run, method, semantics)) as arrays:
                maps.update({(method, semantics, view): arrays[f"raw/{view}"] for view in run.record["request"]["views"]})
        images, table = (run.read_table(file, TEXT_COLUMNS) for file in ("saliency_images.csv", "saliency.csv"))
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        message = f"Invalid value for `out`: '{run.folder}' lacks results of its own run, or they cannot be read."
        raise WelError(f"{message} Expected another `out`, or the directory removed.") from error
    return SaliencyResult(maps, images, table, context["skipped"])
