"""Makes visualizations.npz: what innvestigate 2.1.2 makes of random maps for the eye.

Run it in an environment with that package: python make_visualizations.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

FILE = Path(__file__).with_name("visualizations.npz")


def cases(module: Any) -> dict[str, tuple]:
    """Name -> function of a module, arguments and keywords, drawn anew: innvestigate changes arrays in place."""
    rng = np.random.default_rng(0)
    one, two = (rng.standard_normal((n, 9, 9, 3)).astype("float32") for n in (1, 2))
    return {
        "project": (module.project, [one.copy()], {}),
        "project to a range": (module.project, [one.copy()], {"output_range": (-3, 5)}),
        "project by a number": (module.project, [one.copy()], {"absmax": np.array([2.0], "float32")}),
        "project what is positive": (module.project, [abs(one)], {"input_is_positive_only": True}),
        "heatmap": (module.heatmap, [one.copy()], {}),
        "heatmap of the largest": (module.heatmap, [one.copy()], {"reduce_op": "absmax", "cmap_type": "viridis"}),
        "heatmap with alpha": (module.heatmap, [one.copy()], {"alpha_cmap": True}),
        "heatmap of what is positive": (module.heatmap, [abs(one)], {"input_is_positive_only": True}),
        "graymap": (module.graymap, [one.copy()], {}),
        "gamma": (module.gamma, [two.copy()], {}),
        "gamma about a number": (module.gamma, [two.copy()], {"gamma": 0.3, "minamp": 0.2, "maxamp": 5.0}),
        "clip_quantile": (module.clip_quantile, [two.copy()], {}),
        "clip_quantile of two": (module.clip_quantile, [two.copy(), (1, 80)], {}),
    }


def main() -> None:
    import innvestigate.utils.visualizations as ivis

    arrays = {name: function(*arguments, **kwargs) for name, (function, arguments, kwargs) in cases(ivis).items()}
    np.savez_compressed(FILE, **arrays)


if __name__ == "__main__":
    main()
