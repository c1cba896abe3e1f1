"""TCAV: how often a class's logit rises where a layer's values move towards a concept, beside concepts that are none.

Of a concept and of random pictures, its counterpart, a linear classifier is learned on a layer's values f(x)
(`wel.measures.separation`); its direction v, of length 1 and towards the concept, is the concept activation vector. With y the logit of a
class and X the images of that class,

    S(x)    ∂y/∂f(x) · v, the directional derivative
    score   |{x in X: S(x) > 0}| / |X|

Each concept is held against several counterparts, which gives as many scores. The control is the same with random pictures in place of the
concept's, others for each counterpart. Whether the concept's scores differ from the control's is asked by Welch's two-sided t-test (the
authors compare means too, but take both spreads as one).

Any few pictures have something in common, by chance, which all counterparts agree on. So the concept has to be told from random
pictures better than such a chance set is: its mean accuracy, on pictures that a classifier has not seen, is held against those of as many
sets of random pictures as there are counterparts, each against all of these (`wel.measures.significance.larger_than_all`).

Both p are multiplied with the number of tests, Bonferroni's correction: classes × concepts × layers, and concepts × layers.

With stages all of it is repeated, classifiers included, in the network that is randomised from its last layer down.

Source: Kim et al. (2018).
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator, Mapping, NamedTuple, Sequence

import numpy as np
import pandas as pd
import psutil

from wel.backends import find_backend
from wel.backends.request import Request, relevance_at
from wel.errors import check_whole, invalid, one_of
from wel.measures.separation import Separation, inner_products, separated
from wel.measures.significance import LEVEL, larger_than_all, mean_interval, welch
from wel.measures.vectors import key_of
from wel.methods.layers import last_block, reached
from wel.methods.options import arrays_sha256
from wel.methods.registry import METHODS
from wel.networks.network import PREDICTED_AT_ONCE, Network
from wel.studies.cascading import Fresh, fresh_from, randomized
from wel.studies.map_study import Classes, true_classes
from wel.studies.maps import one_hot
from wel.studies.saliency import ORIGINAL, named_stages
from wel.studies.study import Arrays, Piece, pieces_of, run_study
from wel.studies.tops import is_split
from wel.system.progress import Steps
from wel.system.runs import Run

CONTROL = "random"
PICTURES, COUNTERPARTS = 50, 20
LEAST_PICTURES, LEAST_COUNTERPARTS = 10, 3
QUARTERS = 4  # of random pictures: two halves, of each of which a set has at most half
TEXT_COLUMNS = ("model", "stage", "concept", "layer")


@dataclass(frozen=True)
class TcavResult:
    """What the study found.

    Attributes:
        table: one row per stage ("original", the trained network, and those that it was randomised down to), class, concept and layer:
            how many images of the class there are, pictures of each set, and counterparts; the mean score over counterparts with its 95 %
            interval, and the control's; t, p and p_corrected of the difference, and whether it is significant at 5 %; the mean accuracy,
            that of sets of random pictures, p_separable, corrected, of its being larger, and whether the concept is separable at 5 %.
        scores: one row per stage, class, concept ("random" is the control), layer and counterpart: score and accuracy.
    """

    table: pd.DataFrame
    scores: pd.DataFrame


class Sets(NamedTuple):
    """Which pictures stand against each other.

    Attributes:
        names: of the concepts.
        pictures: (n, *input shape), all that were drawn.
        positive: (concepts, counterparts, size) rows of pictures.
        control: (counterparts, size) of random pictures in place of a concept's.
        negative: (counterparts, size) of the counterparts.
        drawn: the share of the pictures that there are for it that a set of the control has.
    """

    names: tuple[str, ...]
    pictures: np.ndarray
    positive: np.ndarray
    control: np.ndarray
    negative: np.ndarray
    drawn: float


class Asked(NamedTuple):
    """Images of the classes that are asked about.

    Attributes:
        classes: that are asked about.
        images: (n, *input shape).
        index: (n,) the class of each.
    """

    classes: tuple[int, ...]
    images: np.ndarray
    index: np.ndarray


class Place(NamedTuple):
    """Where it is measured: the node at which the network is randomised, None for the trained network, and a layer."""

    stage: str | None
    layer: str


# classifiers of each concept, the control last, and each counterpart; and the mean accuracy of each set of the control, against all of them
Learned = tuple[list[list[Separation]], np.ndarray]
# a place -> scores (concepts and control, counterparts, classes), accuracies (concepts and control, counterparts), chance (counterparts,)
Found = Mapping[Place, Arrays]


def tcav(
    net: Network,
    images: np.ndarray,
    concepts: Mapping[str, np.ndarray],
    random: np.ndarray,
    layers: Sequence[str] | str | None = None,
    classes: Sequence[int | None] | None = None,
    of: Sequence[int] | int | None = None,
    stages: Sequence[str] | str | None = None,
    pictures: int = PICTURES,
    counterparts: int = COUNTERPARTS,
    seed: int = 0,
    out: Path | None = None,
    context: Mapping[str, Any] | None = None,
    steps: Steps | None = None,
) -> TcavResult:
    """Measures how often a class's logit rises towards a concept, and whether that is more than chance.

    `net` itself is randomised where `stages` are given; afterwards it holds its own weights, whatever has happened.

    Args:
        net: from `wel.load`; its output is one vector of logits.
        images: (n, *input shape), as the network takes them.
        concepts: name -> its pictures, (n, *input shape), 10 or more.
        random: pictures of anything, (n, *input shape), 40 or more; counterparts are drawn from one half, the control from the other.
        layers: whose values are looked at; by default the end of the last convolutional block.
        classes: the class of each image; where it is None, or by default, the top-1 prediction.
        of: the classes that are asked about, each of which images have; by default the one that most have.
        stages: as of `wel.saliency`; by default the network is not randomised.
        pictures: of each set, at most; all sets have as many: what the smallest concept has, and a quarter of the random pictures.
        counterparts: how many times random pictures are drawn.
        seed: of what is drawn, which depends on it, the number of the counterpart and the concept's name only, and of the fresh weights.
        out: run directory; nothing is written without it.
        context: kept in `run.json` beside the settings.
        steps: is told of progress, (stage × layer × picture) steps in all.

    Raises:
        WelError: for anything in the arguments that cannot be used, or layers whose values do not fit into memory.
    """
    check_whole("seed", seed, 0)
    images = net.checked_images(images)
    known = true_classes(net, images, classes)
    asked = _asked(images, known, of)
    found = _layers(net, layers)
    sets = _sets(net, concepts, random, pictures, counterparts, seed)
    _check_memory(net, found, len(sets.pictures) + len(asked.images))
    randomised = [] if stages is None else named_stages(net, stages)
    fresh = Fresh(net, seed)
    for stage in randomised:
        fresh_from(net, stage, fresh)  # what cannot be made random is told before any work
    places = [Place(stage, layer) for stage in (None, *randomised) for layer in found]
    request = {
        "study": "tcav",
        "model": net.name,
        "weights_sha256": net.weights_hash(),
        "images_sha256": arrays_sha256(images),
        "classes": known.index.tolist(),
        "of": list(asked.classes),
        "concepts": {name: arrays_sha256(array) for name, array in concepts.items()},
        "random_sha256": arrays_sha256(random),
        "layers": list(map(net.shown, found)),
        "stages": list(map(net.shown, randomised)),
        "pictures": sets.negative.shape[1],
        "counterparts": counterparts,
        "seed": int(seed),
    }

    def make(run: Run) -> TcavResult:
        measured = _measured(net, asked, sets, places, fresh, run, steps or Steps())
        result = TcavResult(_table(net, asked, sets, measured), _scores(net, asked, sets, measured))
        for name, table in zip(FILES, (result.table, result.scores)):
            run.write_table(name, table)
        run.finish()
        return result

    return run_study(out, request, context, make, _read)


FILES = ("tcav.csv", "tcav_scores.csv")


def _read(run: Run) -> TcavResult:
    return TcavResult(*(run.read_table(name, TEXT_COLUMNS) for name in FILES))


# --- what is asked ----------------------------------------------------------------------------------------------------


def _asked(images: np.ndarray, known: Classes, of: Sequence[int] | int | None) -> Asked:
    there, counts = np.unique(known.index, return_counts=True)
    wanted = [there[counts.argmax()]] if of is None else np.atleast_1d(np.asarray(of)).tolist()
    for one in wanted:
        if one not in there.tolist():
            raise invalid("class", one, f"a class that images have: {one_of(map(str, there))}")
    if not wanted:
        raise invalid("class", of, f"one class or more: {one_of(map(str, there))}")
    chosen = np.isin(known.index, wanted)
    return Asked(tuple(dict.fromkeys(map(int, wanted))), images[chosen], known.index[chosen])


def _layers(net: Network, names: Sequence[str] | str | None) -> list[str]:
    if names is None:
        names = last_block(net.graph)
        if names is None:
            raise invalid("layer", None, "the name of a layer: the network has no convolution with more than one place")
    found = [net.find(name, "layer") for name in ([names] if isinstance(names, str) else names)]
    fitting = reached(net.graph).intersection(net.graph.below(net.graph.output))
    for name in found:
        if name not in fitting:
            raise invalid("layer", net.shown(name), "a layer below the output that depends on the input")
    if not found:
        raise invalid("layer", names, "one layer or more")
    return list(dict.fromkeys(found))


def _sets(net: Network, concepts: Mapping[str, np.ndarray], random: np.ndarray, pictures: int, counterparts: int, seed: int) -> Sets:
    check_whole("pictures", pictures, LEAST_PICTURES)
    check_whole("counterparts", counterparts, LEAST_COUNTERPARTS)
    if not concepts or CONTROL in concepts:
        raise invalid("concept", list(concepts), f"one concept or more, none of them called '{CONTROL}', as the control is")
    found = [net.checked_images(array, "concept") for array in concepts.values()]
    pool = net.checked_images(random, "random")
    if len(pool) < QUARTERS * LEAST_PICTURES:
        raise invalid("random", f"{len(pool)} pictures", f"{QUARTERS * LEAST_PICTURES} or more")
    for name, array in zip(concepts, found):
        if len(array) < LEAST_PICTURES:
            raise invalid("concept", name, f"{LEAST_PICTURES} pictures or more. Received {len(array)}")
    size = min(pictures, len(pool) // QUARTERS, *map(len, found))

    def draws(name: str, rows: np.ndarray) -> np.ndarray:
        return np.stack([rows[_drawn(seed, name, number, len(rows))[:size]] for number in range(counterparts)])

    halves = np.array_split(_drawn(seed, CONTROL, counterparts, len(pool)), 2)
    begins = len(pool) + np.cumsum([0, *map(len, found)])
    of_concepts = [draws(name, np.arange(*ends)) for name, *ends in zip(concepts, begins, begins[1:])]
    drawn = np.stack([*of_concepts, draws(CONTROL, halves[0]), draws("counterpart", halves[1])])
    used, rows = np.unique(drawn, return_inverse=True)
    rows = rows.reshape(drawn.shape)
    return Sets((*concepts,), np.concatenate([pool, *found])[used], rows[:-2], rows[-2], rows[-1], size / len(halves[0]))


def _drawn(seed: int, name: str, number: int, count: int) -> np.ndarray:
    """So many pictures in the order in which a set, by its name and number, takes them."""
    return np.random.default_rng(np.random.SeedSequence((seed, key_of(name), number))).permutation(count)


def _check_memory(net: Network, layers: Sequence[str], count: int) -> None:
    """Raises WelError when so many pictures' values, or derivatives, at all layers are more than half of what is free."""
    free = psutil.virtual_memory().available
    sizes = {name: int(np.prod(net.graph[name].shape)) * np.dtype("float32").itemsize * count for name in layers}
    if sum(sizes.values()) > free // 2:
        largest = max(sizes, key=sizes.__getitem__)
        expected = f"layers whose values at {count} pictures and images fit into half of {free / 1e9:.1f} GB"
        message = f"{expected}. Received {sum(sizes.values()) / 1e9:.1f} GB; fewer `pictures` or `counterparts` need less"
        raise invalid("layer", net.shown(largest), message)


# --- what is measured -------------------------------------------------------------------------------------------------


def _measured(
    net: Network, asked: Asked, sets: Sets, places: Sequence[Place], fresh: Mapping[str, Any], run: Run, steps: Steps
) -> dict[Place, Arrays]:
    """Scores and accuracies at every place, from what an interrupted run has left and what is still to be done."""
    names = {place: f"{number:04d}" for number, place in enumerate(places)}
    trained: dict[str, Learned] = {}

    def compute(there: Mapping[str, Arrays]) -> Iterator[Piece]:
        missing = [place for place in places if names[place] not in there]
        for stage in dict.fromkeys(place.stage for place in missing):
            here = [place for place in missing if place.stage == stage]
            # its own weights are back before anything is handed out
            with nullcontext() if stage is None else randomized(net, stage, fresh):
                found = _at_places(net, asked, sets, here, trained, steps)
            for place, arrays in found.items():
                yield Piece(names[place], arrays, told=len(sets.pictures))

    steps.start(len(places) * len(sets.pictures))
    pieces = pieces_of(run, "tcav", compute, steps, (), lambda arrays: len(sets.pictures))
    return {place: pieces[name] for place, name in names.items()}


def _shown_stage(net: Network, stage: str | None) -> str:
    return ORIGINAL if stage is None else net.shown(stage)


def _at_places(
    net: Network, asked: Asked, sets: Sets, places: Sequence[Place], trained: dict[str, Learned], steps: Steps
) -> dict[Place, Arrays]:
    """Scores and accuracies at the layers of one stage.

    Args:
        trained: layer -> what was learned in the trained network, which holds at all stages above the layer; is added to.
        steps: is told of progress, of each place as many steps as there are pictures.
    """
    gradients, found = logit_gradients(net, asked.images, asked.index, [place.layer for place in places]), {}
    for place in places:
        values = _values(net, sets.pictures, place, steps)
        untouched = _is_untouched(net, place)
        learned = trained.get(place.layer) if untouched else None
        learned = _learned(values, sets) if learned is None else learned
        if untouched:
            trained[place.layer] = learned
        found[place] = _scored(asked, learned, inner_products(gradients.pop(place.layer), values))
    return found


def _values(net: Network, pictures: np.ndarray, place: Place, steps: Steps) -> np.ndarray:
    """A layer's values at pictures, (n, values)."""
    found = []
    for first in range(0, len(pictures), PREDICTED_AT_ONCE):
        batch = net.values(pictures[first : first + PREDICTED_AT_ONCE], place.layer)
        found.append(batch.reshape(len(batch), -1))
        steps.advance(len(batch), net.shown(place.layer), _shown_stage(net, place.stage))
    return np.concatenate(found)


def _is_untouched(net: Network, place: Place) -> bool:
    graph, stage = net.graph, place.stage
    return stage is None or (graph.index(place.layer) < graph.index(stage) and not is_split(graph, stage))


def _learned(values: np.ndarray, sets: Sets) -> Learned:
    products = inner_products(values, values)

    def against(several: np.ndarray, counterparts: np.ndarray) -> list[Separation]:
        return [separated(products, values.shape[1], positive, negative) for positive, negative in zip(several, counterparts)]

    learned = [against(several, sets.negative) for several in (*sets.positive, sets.control)]
    chance = [against(np.broadcast_to(one, sets.negative.shape), sets.negative) for one in sets.control]
    return learned, np.array([np.mean([one.accuracy for one in several]) for several in chance])


def _scored(asked: Asked, learned: Learned, slopes: np.ndarray) -> dict[str, np.ndarray]:
    """What is kept of a place; slopes (images, pictures) are the inner products of derivatives and pictures' values."""
    classifiers, chance = learned
    rising = np.array([[slopes[:, one.rows] @ one.weights > 0 for one in several] for several in classifiers])
    scores = np.stack([rising[..., asked.index == chosen].mean(axis=-1) for chosen in asked.classes], axis=-1)
    return {"scores": scores, "accuracy": np.array([[one.accuracy for one in several] for several in classifiers]), "chance": chance}


def logit_gradients(net: Network, images: np.ndarray, classes: np.ndarray, layers: Sequence[str]) -> dict[str, np.ndarray]:
    """∂(logit of each image's class)/∂(a layer's values), {layer: (n, values)} float32, in one sweep for all layers."""
    method, graph = METHODS["gradient"], net.graph
    backend = find_backend("native", method)
    backend.check(method, "paper", graph, ([graph.output], layers))
    request = Request(method, "paper", method.defaults)
    heads = one_hot(classes, *net.output_shape)[:, None]
    found = relevance_at(backend.open(net), request, images, graph.output, heads, layers)
    return {name: array.reshape(len(images), -1) for name, array in found.items()}


# --- tables -----------------------------------------------------------------------------------------------------------


def _table(net: Network, asked: Asked, sets: Sets, found: Found) -> pd.DataFrame:
    return pd.DataFrame([row for place in found for row in _rows(net, asked, sets, place, found)])


def _rows(net: Network, asked: Asked, sets: Sets, place: Place, found: Found) -> Iterator[dict[str, Any]]:
    separations = len(sets.names) * len({one.layer for one in found})
    scores, accuracy, chance = (found[place][name] for name in ("scores", "accuracy", "chance"))
    for number, chosen in enumerate(asked.classes):
        for concept, name in enumerate(sets.names):
            one, control = scores[concept, :, number], scores[-1, :, number]
            t, p = welch(one, control)
            corrected = min(1.0, p * separations * len(asked.classes))
            told = min(1.0, larger_than_all(accuracy[concept].mean(), chance, sets.drawn) * separations)
            (low, high), (control_low, control_high) = mean_interval(one), mean_interval(control)
            yield {
                **_key(net, place, chosen, name),
                "layer_index": net.graph.index(place.layer),
                "images": int((asked.index == chosen).sum()),
                "pictures": sets.negative.shape[1],
                "counterparts": len(one),
                "score": one.mean(),
                "ci_low": low,
                "ci_high": high,
                "control": control.mean(),
                "control_low": control_low,
                "control_high": control_high,
                "t": t,
                "p": p,
                "p_corrected": corrected,
                "significant": corrected < LEVEL,
                "accuracy": accuracy[concept].mean(),
                "control_accuracy": chance.mean(),
                "p_separable": told,
                "separable": told < LEVEL,
            }


def _key(net: Network, place: Place, chosen: int, concept: str) -> dict[str, Any]:
    stage = _shown_stage(net, place.stage)
    return {"model": net.name, "stage": stage, "class": chosen, "concept": concept, "layer": net.shown(place.layer)}


def _scores(net: Network, asked: Asked, sets: Sets, found: Found) -> pd.DataFrame:
    rows = []
    for place, arrays in found.items():
        for number, concept, counterpart in np.ndindex(len(asked.classes), *arrays["accuracy"].shape):
            values = {"score": arrays["scores"][concept, counterpart, number], "accuracy": arrays["accuracy"][concept, counterpart]}
            rows.append({**_key(net, place, asked.classes[number], (*sets.names, CONTROL)[concept]), "counterpart": counterpart, **values})
    return pd.DataFrame(rows)
