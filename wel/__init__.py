"""wel, "when explanations lie": does an attribution method explain your network, or only its first layers?

net = wel.load("cifar10")
result = wel.csc(net, images, methods=["gradient", "lrp_alpha1_beta0"])
result.table
"""

from __future__ import annotations

from importlib import import_module

from wel.system.arithmetic import choose_at_import
from wel.system.devices import grow_memory

__version__ = "0.8.0"

choose_at_import()
grow_memory()

# TensorFlow takes seconds to import, so a name is looked up when it is first used
_PUBLIC = {
    "load": "wel.networks.loading",
    "relevance": "wel.studies.relevance",
    "attribution": "wel.studies.maps",
    "csc": "wel.studies.csc",
    "random_logit": "wel.studies.random_logit",
    "cascading_randomization": "wel.studies.cascading",
    "faithfulness": "wel.studies.faithfulness",
    "tcav": "wel.studies.tcav",
    "saliency": "wel.studies.saliency",
    "simulate": "wel.studies.simulation",
    "singular_values": "wel.studies.singular_values",
    "effective_rank": "wel.studies.effective_rank",
    "audit": "wel.auditing.audit",
    "leaks": "wel.studies.leaks",
    "verify": "wel.studies.verification",
    "fit_patterns": "wel.methods.fitting",
    "load_images": "wel.images.load",
    "register_rule": "wel.methods.composites",
    "composite": "wel.methods.layered",
    "Rule": "wel.rules.base",
    "LinearRule": "wel.rules.base",
    "WelError": "wel.errors",
}
__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str):
    if name not in _PUBLIC:
        raise AttributeError(f"module 'wel' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__():
    return sorted({*globals(), *_PUBLIC})
