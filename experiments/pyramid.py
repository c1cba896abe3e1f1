"""How alike the maps of two classes are, by the size of what they show: details apart from coarse regions."""

from __future__ import annotations

import numpy as np
import pandas as pd
from skimage.transform import pyramid_laplacian

from wel.measures.similarity import ssim
from wel.methods.registry import METHODS
from wel.studies.saliency import CLASS, SaliencyResult

LEAST = 15  # pixels that the coarsest band of a map has on a side


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
