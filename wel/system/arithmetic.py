"""The order of summation: TensorFlow 2.14 made to add up as TensorFlow 1.13 did, on which the paper's numbers were computed.

A pre-activation that is zero but for rounding falls on one side of zero or the other; a ReLU's mask flips, and a gradient through
VGG-16 with it by 4e-3. With these settings last bits, and so masks, are the original's. They are read when TensorFlow is first
imported: who imports it before wel, or sets them, has their own. Training with bfloat16 needs oneDNN.
"""

from __future__ import annotations

import os

ORIGINAL_SUMS = {"TF_ENABLE_ONEDNN_OPTS": "0", "TENSORFLOW_USE_CUSTOM_CONTRACTION_KERNEL": "false"}
FASTEST_SUMS = {"TF_ENABLE_ONEDNN_OPTS": "1", "TENSORFLOW_USE_CUSTOM_CONTRACTION_KERNEL": "true"}


def prefer(settings: dict[str, str]) -> None:
    """Sets what the environment does not say yet."""
    for name, value in settings.items():
        os.environ.setdefault(name, value)
