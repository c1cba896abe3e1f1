"""Runs the scripts of all figures one after the other and writes one page with what they found: `make paper`, or

    python experiments/make_paper.py --full --vgg16 FILE --resnet50 FILE

Interrupted, it goes on where it stopped when the same command is given again.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from paper import RUNS, Images, Weights, start
from trained import FOLDER as REAL_FOLDER
from trained import NETWORKS

FOLDER = Path(__file__).resolve().parent
# ends in files that the figures of VGG-16 and ResNet-50 are made with, unless weights are given
REAL = FOLDER / "real" / "fetch.py"
SCRIPTS = {  # in the page's order -> the network whose ImageNet weights it takes
    "figure1_saliency": "vgg16",
    "figure2_sanity": "vgg16",
    "figure3_csc": "vgg16",
    "figure4_simulation": "vgg16",
    "figure5_resnet50": "resnet50",
    "figure6_saliency_resnet50": "resnet50",
    "figure7_sanity_resnet50": "resnet50",
    "appendix_cifar10": None,
    "appendix_histograms": "vgg16",
    "appendix_maps": "vgg16",
    "appendix_singular_values": "vgg16",
    "appendix_quirks": "resnet50",
    "appendix_sensitive": "vgg16",
    "appendix_images": None,
    "appendix_depth": None,
}
INTERRUPTED = 130  # typer's exit code after Ctrl-C


def main(
    full: Annotated[bool, typer.Option("--full", help="The paper's settings: 200 images, hours.")] = False,
    vgg16: Weights = None,
    resnet50: Weights = None,
    images: Images = None,
    out: Annotated[Path, typer.Option(help="Where `index.html` and the run directories go.")] = RUNS,
) -> None:
    """Runs everything, quickly unless --full is given, and writes the page."""
    from page import write_page

    given = {"vgg16": vgg16, "resnet50": resnet50}
    if not all(given.values()):
        _fetch()
    failed = []
    for number, (name, network) in enumerate(SCRIPTS.items(), start=1):
        print(f"[{number}/{len(SCRIPTS)}] {name}", flush=True)
        began = time.monotonic()
        options = [] if full else ["--quick"]
        if given.get(network):
            options += ["--weights", given[network]]
        if images and network:
            options += ["--images", str(images)]
        code = subprocess.run([sys.executable, str(FOLDER / f"{name}.py"), *options, "--out", str(out / name)]).returncode
        print(f"    {time.monotonic() - began:.0f} s", flush=True)
        if code:
            failed.append(name)
    page = write_page(out, [out / name for name in SCRIPTS])
    print(f"Page: {page}")
    if failed:
        print(f"Did not run to their ends: {', '.join(failed)}", file=sys.stderr)
        sys.exit(1)


def _fetch() -> None:
    """Makes the trained networks that are not there yet; without them the bundled ones have to do."""
    if all((REAL_FOLDER / f"{name}.h5").is_file() for name in NETWORKS):
        return
    if subprocess.run([sys.executable, str(REAL), "--out", str(REAL_FOLDER)]).returncode:
        print("The trained networks of `make real` cannot be had: cifar10, resnet20 and random weights stand in.", file=sys.stderr)


if __name__ == "__main__":
    try:
        start(main)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            print("Interrupted. The same command goes on where it stopped.", file=sys.stderr)
        raise
