"""The order of summation, by name: as on the original stack, TensorFlow's own, or the fastest one.

A pre-activation that is zero but for rounding falls on one side of zero or the other; a ReLU's mask flips, and a gradient through
VGG-16 with it by 4e-3. `original` makes every TensorFlow from 2.14 on add up as TensorFlow 1.13 did, on which the paper's numbers were
computed: last bits, and so masks, are the original's. TensorFlow reads these settings when it is first imported: who imports it before
wel has the arithmetic that it got then. Training with bfloat16 needs oneDNN.
"""

from __future__ import annotations

import os
import sys
import warnings
from typing import Dict, Optional

from wel.errors import invalid, one_of

CHOICE = "WEL_ARITHMETIC"
ONEDNN, CONTRACTION = "TF_ENABLE_ONEDNN_OPTS", "TENSORFLOW_USE_CUSTOM_CONTRACTION_KERNEL"
# name -> what the environment says; None: nothing, so that TensorFlow decides by the machine
ARITHMETICS: Dict[str, Dict[str, Optional[str]]] = {
    "original": {ONEDNN: "0", CONTRACTION: "false"},
    "default": {ONEDNN: None, CONTRACTION: None},
    "fastest": {ONEDNN: "1", CONTRACTION: "true"},
}
MIXED = "mixed"  # settings that are none of these, as somebody's environment may have them


def choose_arithmetic(name: str) -> None:
    """Makes this process, and those that it starts, add up in one order.

    Args:
        name: "original", "default" or "fastest".

    Raises:
        WelError: when it is none of these, or TensorFlow runs already and adds up otherwise.
    """
    if name not in ARITHMETICS:
        raise invalid("arithmetic", name, one_of(ARITHMETICS))
    if name == arithmetic():
        return
    if "tensorflow" in sys.modules:
        raise invalid("arithmetic", name, f"{arithmetic()!r}: TensorFlow runs already, and adds up so until its process ends")
    for variable, value in ARITHMETICS[name].items():
        if value is None:
            os.environ.pop(variable, None)
        else:
            os.environ[variable] = value


def arithmetic() -> str:
    """The arithmetic of this process by name; "mixed" when its settings are none of the three."""
    found = {name for name, settings in ARITHMETICS.items() if all(os.environ.get(key) == value for key, value in settings.items())}
    return next(iter(found), MIXED)


def choose_at_import() -> None:
    """What `import wel` does: the arithmetic that WEL_ARITHMETIC names, else `original`, unless the environment has settings of its own.

    Where TensorFlow runs already, nothing is changed, and a warning says with what it adds up.
    """
    wanted = os.environ.get(CHOICE)
    if "tensorflow" in sys.modules:
        if arithmetic() != (wanted or "original"):
            message = f"TensorFlow was imported before wel and adds up as it was told then ({arithmetic()}), not as the original stack did"
            warnings.warn(f"{message}: last bits differ. Expected `import wel` before TensorFlow.", stacklevel=3)
    elif wanted is not None:
        choose_arithmetic(wanted)
    elif arithmetic() == "default":
        choose_arithmetic("original")


def prefer(settings: Dict[str, str]) -> None:
    """Sets what the environment does not say yet."""
    for name, value in settings.items():
        os.environ.setdefault(name, value)
