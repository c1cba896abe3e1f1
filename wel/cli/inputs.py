"""What almost every command begins with: network, pictures, run directory and console."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, List, Optional

from rich.console import Console

from wel.backends import check_backend
from wel.cli.console import PLAIN, console, listed
from wel.images.load import ImageSet, load_images
from wel.methods.registry import Names, choose_map_methods, choose_methods, chosen_semantics
from wel.networks.loading import load, parse_shape

if TYPE_CHECKING:
    from wel.networks.network import Network


@dataclass(frozen=True)
class Inputs:
    """What a command works with.

    Attributes:
        net: the network.
        pictures: its images.
        folder: the run directory.
        screen: what is printed on.
    """

    net: Network
    pictures: ImageSet
    folder: Path
    screen: Console

    @property
    def context(self) -> dict[str, Any]:
        """What a run's record keeps of images and layers."""
        return self.pictures.record(self.net)

    def announce(self, *words: str) -> None:
        """A line on what is studied, one on layers without trained weights, and one on how images become inputs where that was guessed."""
        count = f"{len(self.pictures.names)} images ({self.pictures.source})"
        self.screen.print(f"{self.net.name}: {''.join([count, *words])}", **PLAIN)
        if self.net.random_layers:
            self.screen.print(" ".join(self.net.origin.notes), **PLAIN)
        preprocessing = self.pictures.preprocessing
        if preprocessing.guess:
            guessed = f"Preprocessing {preprocessing.spec} ({preprocessing.formula}) is a guess; --preprocess says otherwise."
            self.screen.print(f"{guessed} {preprocessing.guess}", **PLAIN)


def opened(
    *,
    study: str,
    model: str,
    weights: Optional[str],
    seed: int,
    out: Optional[Path],
    images: Optional[Path] = None,
    labels: Optional[Path] = None,
    limit: Optional[int] = None,
    preprocess: Optional[str] = None,
    input_shape: Optional[str] = None,
    output_index: Optional[str] = None,
    input_name: Optional[str] = None,
    fixed: Optional[Path] = None,
) -> Inputs:
    """Opens what a study works with; its run directory is runs/STUDY-MODEL unless `out` says otherwise.

    Raises:
        WelError: for a network or images that cannot be used.
    """
    given = {"input_shape": parse_shape(input_shape), "output_index": output_index, "input": input_name, "fixed": fixed}
    net = load(model, weights, seed=seed, **given)
    pictures = load_images(net, images, labels, limit, preprocess)
    return Inputs(net, pictures, out or Path("runs") / f"{study}-{net.name}", console())


def chosen(methods: str, semantics: str, backend: str = "native", maps: bool = False, analyzer: Optional[List[str]] = None) -> Names:
    """Names of methods as studies take them; what can be refused before TensorFlow is imported is refused.

    Args:
        maps: whether the study is one of maps, for which there are more methods than for CSC.
        analyzer: analyzers that are asked for too; then "all" stands for no method.

    Raises:
        WelError: for an unknown method, semantics or backend.
    """
    chosen_semantics(semantics)
    check_backend(backend)
    if methods == "all" and analyzer:
        return []
    names = listed(methods)
    found = (choose_map_methods if maps else choose_methods)(names)
    return "all" if names == "all" else [method.name for method in found]


def with_analyzers(names: Names, analyzer: Optional[List[str]], net: Network) -> Names:
    """Methods that were asked for by name and, behind them, those that analyzers stand for.

    Raises:
        WelError: for an analyzer that cannot be one.
    """
    if not analyzer:
        return names
    from wel.innvestigate.strings import methods_of  # imports TensorFlow

    return [*names, *methods_of(analyzer, net)]


def known_classes(pictures: ImageSet) -> str:
    """Where the classes of pictures come from, in words."""
    known = Counter(label is not None for label in pictures.labels)
    words = {True: "the true label", False: "the top-1 prediction"}
    return "; class: " + ", ".join(f"{words[one]} of {count}" for one, count in sorted(known.items(), reverse=True))
