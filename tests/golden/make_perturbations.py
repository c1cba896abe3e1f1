"""Makes perturbations.npz: what innvestigate 2.1.2 changes in random pictures, by random maps.

Run it in an environment with that package: python make_perturbations.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

FILE = Path(__file__).with_name("perturbations.npz")
# name -> (height, width) of pictures, keywords of Perturbation
CASES = {
    "zeros": ((8, 6), {"perturbation_function": "zeros", "num_perturbed_regions": 3, "region_shape": (2, 3)}),
    "mean": ((8, 8), {"perturbation_function": "mean", "num_perturbed_regions": 5, "region_shape": (4, 2)}),
    "invert and clip": (
        (9, 9),
        {"perturbation_function": "invert", "num_perturbed_regions": 4, "region_shape": (3, 3), "value_range": (-0.5, 1)},
    ),
    "padded": ((10, 11), {"perturbation_function": "zeros", "num_perturbed_regions": 6, "region_shape": (4, 4)}),
    "padded with edges": (
        (7, 7),
        {"perturbation_function": "mean", "num_perturbed_regions": 2, "region_shape": (3, 3), "pad_mode": "edge"},
    ),
    "maxima": (
        (8, 8),
        {
            "perturbation_function": "zeros",
            "num_perturbed_regions": 3,
            "region_shape": (2, 2),
            "reduce_function": np.max,
            "aggregation_function": np.max,
        },
    ),
    "a function": ((8, 8), {"perturbation_function": lambda region: region[::-1] + 1, "num_perturbed_regions": 3, "region_shape": (2, 4)}),
}


def drawn(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Two pictures of three colours, and maps of them."""
    rng = np.random.default_rng(0)
    pictures, maps = (rng.standard_normal((2, *size, 3)).astype("float32") for _ in range(2))
    return pictures, maps


def main() -> None:
    from innvestigate.tools.perturbate import Perturbation

    np.savez_compressed(FILE, **{name: Perturbation(**kwargs).perturbate_on_batch(*drawn(size)) for name, (size, kwargs) in CASES.items()})


if __name__ == "__main__":
    main()
