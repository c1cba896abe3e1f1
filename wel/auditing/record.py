"""What an audit found, as one dictionary: `audit.json`, from which the report is drawn too."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Mapping, Sequence

import numpy as np

from wel.auditing.advice import ADVICE, Advice, Faithfulness, Measured, advise, dependence, faithfulness_of, sentence
from wel.auditing.checks import Check
from wel.auditing.evidence import Evidence
from wel.auditing.plan import Plan
from wel.auditing.verdicts import Thresholds, judge
from wel.images.load import ImageSet
from wel.methods.options import described
from wel.methods.registry import CITATIONS, METHODS, Method
from wel.networks.network import Network
from wel.studies.study import Cell
from wel.system.runs import versions

FORMAT = "wel-audit/1"
TOP = 5  # predictions that are shown of every image


@dataclass(frozen=True)
class Finding:
    """What was measured of a method with its options; `semantics` is "both" where the two are the same for it."""

    cell: Cell
    semantics: str
    options: Mapping[str, Any]
    evidence: Evidence
    seconds: float


@dataclass(frozen=True)
class Missing:
    """A method that was not measured, and why; without `semantics`, because it does not apply to the network."""

    method: Method
    semantics: str | None
    reason: str


@dataclass(frozen=True)
class Circumstances:
    """Of what, with what, how, and in how many seconds."""

    net: Network
    pictures: ImageSet
    plan: Plan
    mode: str
    semantics: Sequence[str]
    command: str
    seconds: float


def recorded(
    about: Circumstances, checks: Sequence[Check], findings: Sequence[Finding], controls: Sequence[Finding], missing: Sequence[Missing]
) -> dict[str, Any]:
    """The record of an audit, as `audit.schema.json` describes it; numbers that are undefined are NaN."""
    failed = [check.sentence for check in checks if not check.passed]
    order = {name: place for place, name in enumerate(METHODS)}
    ordered = sorted(findings, key=lambda finding: order.get(finding.cell.method.name, len(order)))
    measured = [_measured(finding, controls, about.plan) for finding in ordered]
    sources = dict.fromkeys(["sixt2020", *(finding.cell.method.source for finding in [*ordered, *controls])])
    return {
        "format": FORMAT,
        "finished": not failed,
        "stopped": " ".join(failed) or None,
        "advice": _advice(measured),
        "mode": about.mode,
        "command": about.command,
        "date": date.today().isoformat(),
        "seconds": round(about.seconds, 1),
        "model": _model(about.net),
        "images": _images(about),
        "checks": [asdict(check) for check in checks],
        "depths": [about.net.shown(depth) for depth in about.plan.depths],
        "settings": _settings(about),
        "methods": [_method(*pair, about.plan.thresholds) for pair in zip(ordered, measured)],
        "controls": [_method(finding, _measured(finding, controls, about.plan), about.plan.thresholds) for finding in controls],
        "not_applicable": [{**_named(one.method), "reason": one.reason} for one in missing if one.semantics is None],
        "not_measured": [
            {**_named(one.method), "semantics": one.semantics, "reason": one.reason} for one in missing if one.semantics is not None
        ],
        "versions": versions(),
        "citations": [CITATIONS[source] for source in sources],
    }


def _model(net: Network) -> dict[str, Any]:
    origin = net.origin
    file = {"file": None, "sha256": None, "kind": "a live Keras model", "keras_version": None, "backend": None, "notes": []}
    if origin is not None:
        path, digest = (origin.path, origin.sha256) if origin.path else (origin.weights, origin.weights_sha256)
        file = {"file": path, "sha256": digest, "kind": origin.kind}
        file.update(keras_version=origin.keras_version, backend=origin.backend, notes=list(origin.notes))
    return {
        "name": net.name,
        **file,
        "parameters": net.model.count_params(),
        "input_shape": list(net.input_shape),
        "classes": net.output_shape[-1],
        "output": net.shown(net.graph.output),
        "final_activation": net.final_activation,
        "weights_sha256": net.weights_hash(),
        "layers": [{"name": net.shown(node.name), "kind": node.kind, "shape": list(node.shape)} for node in net.graph.nodes],
    }


def _images(about: Circumstances) -> dict[str, Any]:
    pictures, preprocessing = about.pictures, about.pictures.preprocessing
    logits = about.net.logits(about.plan.images)
    probabilities = about.net.probabilities(logits)
    classes = about.plan.classes
    items = [
        {
            "name": name,
            "sha256": pictures.sha256[i],
            "label": pictures.labels[i],
            "class": int(classes.index[i]),
            "class_from": str(classes.known_from[i]),
            "top": _top(logits[i], None if probabilities is None else probabilities[i]),
        }
        for i, name in enumerate(pictures.names)
    ]
    return {
        "source": pictures.source,
        "preprocessing": {"spec": preprocessing.spec, "formula": preprocessing.formula, "guess": preprocessing.guess},
        "items": items,
        "left_out": [{"name": name, "reason": reason} for name, reason in pictures.left_out.items()],
    }


def _top(logits: np.ndarray, probabilities: np.ndarray | None) -> list[dict[str, Any]]:
    best = map(int, np.argsort(-logits, kind="stable")[:TOP])
    shares = [None] * len(logits) if probabilities is None else probabilities.tolist()
    return [{"class": k, "logit": float(logits[k]), "probability": shares[k]} for k in best]


def _settings(about: Circumstances) -> dict[str, Any]:
    plan = about.plan
    return {
        "seed": plan.seed,
        "vectors": plan.vectors,
        "semantics": list(about.semantics),
        "images_convergence": plan.vector_images,
        "images_maps": len(plan.images),
        "thresholds": asdict(plan.thresholds),
        "parts": plan.parts,
        "images_hidden": plan.hidden_images,
    }


def _advice(measured: Sequence[Measured]) -> dict[str, Any]:
    ranked = advise(measured)
    return {"sentence": sentence(ranked), **{word: [_reasoned(one) for one in ranked if one.advice == word] for word in ADVICE}}


def _reasoned(one: Advice) -> dict[str, str]:
    return {name: text for name, text in asdict(one).items() if name != "advice"}


def _measured(finding: Finding, controls: Sequence[Finding], plan: Plan) -> Measured:
    """What the advice is made of; a control is held against the other one."""
    method, tests = finding.cell.method, finding.evidence.tests
    others = {one.cell.method.name: one.evidence.curves for one in controls if one.cell.method is not method}
    faithfulness = faithfulness_of(finding.evidence.curves, others, plan.seed)
    return Measured(method, finding.semantics, judge(tests, plan.thresholds).verdict, tests, faithfulness)


def _faithfulness(found: Faithfulness | None) -> dict[str, Any] | None:
    return found and {**asdict(found), "gain": found.gain._asdict(), "over": {name: one._asdict() for name, one in found.over.items()}}


def _method(finding: Finding, measured: Measured, thresholds: Thresholds) -> dict[str, Any]:
    method = finding.cell.method
    return {
        **_named(method),
        "semantics": finding.semantics,
        "source": CITATIONS[method.source],
        **asdict(judge(finding.evidence.tests, thresholds)),
        "tests": [asdict(test) for test in finding.evidence.tests],
        "csc": finding.evidence.csc,
        "options": described(finding.options),
        "dependence": dependence(measured.tests)._asdict(),
        "faithfulness": _faithfulness(measured.faithfulness),
        "seconds": round(finding.seconds, 1),
    }


def _named(method: Method) -> dict[str, str]:
    return {"method": method.name, "label": method.label}
