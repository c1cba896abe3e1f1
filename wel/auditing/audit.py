"""`wel.audit`: which attribution methods show what a network decides from, and which draw the same picture whatever it decides."""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Iterator, Mapping, Sequence

import numpy as np

from wel.auditing.checks import checked, stored_predictions
from wel.auditing.depths import choose_depths, choose_layers
from wel.auditing.evidence import Evidence, Examiner, others_of
from wel.auditing.plan import MODES, Mode, Plan, by_priority, expected_seconds, has_others
from wel.auditing.record import Circumstances, Finding, Missing, recorded
from wel.auditing.report import RECORD, Examples, write_report
from wel.auditing.verdicts import VERDICTS, Measurement
from wel.errors import UnsupportedError, check_whole, invalid, one_of
from wel.images.load import ImageSet
from wel.innvestigate.strings import methods_of
from wel.methods.composites import flow_of, rules_for
from wel.methods.registry import CONTROLS, Method, Names, choose_map_methods, chosen_semantics
from wel.networks.network import Network
from wel.rules.deeplift import without_unseen_placeholders
from wel.studies.cluster import fill
from wel.studies.faithfulness import LEAST, MOST, SHARE
from wel.studies.map_study import true_classes
from wel.studies.study import Piece, Settings, Study, one_step, pieces_of
from wel.studies.units import Arrays, Cell, Unit, Work
from wel.system.files import file_sha256
from wel.system.progress import Steps
from wel.system.runs import Run


@dataclass(frozen=True)
class AuditResult:
    """What an audit found.

    Attributes:
        record: as in `audit.json`; `wel/auditing/audit.schema.json` says what it holds.
        folder: the run directory, with `audit.json` and `report.html`.
    """

    record: dict[str, Any]
    folder: Path

    def verdict(self, method: str) -> str | None:
        """The verdict of a method, "insensitive" before "inconclusive" before "sensitive" where semantics differ; None if not measured."""
        found = {entry["verdict"] for entry in self.record["methods"] if entry["method"] == method}
        return next((word for word in VERDICTS if word in found), None)


def audit(
    net: Network,
    pictures: ImageSet,
    out: Path,
    mode: str = "quick",
    methods: Names = "all",
    semantics: str = "both",
    seed: int = 0,
    limit: int | None = None,
    first: Sequence[str] = (),
    expect: Path | None = None,
    minutes: float | None = None,
    command: str = "",
    steps: Steps | None = None,
    client: Any = None,
    analyzer: str | Sequence[str] = (),
) -> AuditResult:
    """Audits the attribution methods of a network: writes `audit.json` and `report.html` into a run directory.

    Of each method it measures whether the map of a random other class is the same (random logit), whether the map is the same when
    all layers above a cut are random (cascading randomisation), and how many directions of random relevance arrive at the input
    (effective rank, with CSC on the way down). `wel.auditing.verdicts` makes one verdict of that. Then images are hidden part by part,
    in the order of the map, and the score that is left is held against that of the controls `random` and `edges` (faithfulness); what
    to use of it all says `wel.auditing.advice`.

    Args:
        net: from `wel.load`; its output is one vector of logits.
        pictures: from `wel.load_images`.
        out: run directory; an interrupted audit goes on there.
        mode: "quick", the paper's methods, Grad-CAM and Occlusion at three cuts, or "full", more of everything.
        methods: "all", the mode's that apply to the network, or names.
        semantics: "paper", "corrected", or "both": then a method whose rules differ is measured under each.
        seed: of the other classes, fresh weights, random vectors and intervals.
        limit: how many of the images give maps; by default up to 24, four at least of a large network in a quick audit.
        first: methods that are measured before the others.
        expect: .npz with `predictions` and `inputs` of the model, checked before anything is measured.
        minutes: leaves methods out, from the end of the order in which they are measured, until the others take no longer by what
            `wel.auditing.plan.expected_seconds` predicts; the first one stays.
        command: how to repeat it, for the record.
        steps: is told of progress, one step per method and semantics, and for each control.
        client: a `dask.distributed.Client`, whose workers compute; the numbers stay the same to the last bit.
        analyzer: analyzers of innvestigate's, such as "lrp.epsilon:epsilon=0.1" (`wel.innvestigate.strings`), which are measured before
            the methods.

    Raises:
        WelError: for anything in the arguments that cannot be used.
    """
    if mode not in MODES:
        raise invalid("mode", mode, one_of(MODES))
    check_whole("seed", seed, 0)
    if limit is not None:
        check_whole("limit", limit, 1)
    pictures = _first(pictures, limit or MODES[mode].images_for(net))
    if minutes is not None and not minutes > 0:
        raise invalid("minutes", minutes, "a number above 0")
    if expect is not None:
        stored_predictions(net, Path(expect), pictures.inputs)
    own = methods_of([analyzer] if isinstance(analyzer, str) else analyzer, net)
    asked = [*own, *choose_map_methods(MODES[mode].methods if methods == "all" else methods)]
    first = [*(method.name for method in own), *first]
    course = _Course(net, pictures, MODES[mode], choose_map_methods(asked), semantics, seed, first, expect, minutes, client)
    return course.result(Path(out), command, steps or Steps())


class _Course:
    """The course of one audit: what is measured, in which order, and what becomes of it."""

    def __init__(
        self,
        net: Network,
        pictures: ImageSet,
        mode: Mode,
        methods: Sequence[Method],
        semantics: str,
        seed: int,
        first,
        expect,
        minutes,
        client=None,
    ):
        self.net, self.pictures, self.mode, self.semantics = net, pictures, mode, chosen_semantics(semantics)
        self.expect, self._minutes, self._name = expect, minutes, uuid.uuid4().hex
        net.count_logits()
        self._layers = choose_layers(net, mode.layers)
        self._chosen = by_priority(methods, first)
        options, several = mode.options(net), list(dict.fromkeys([*self._chosen, *CONTROLS]))
        self.study = Study(Settings(net, pictures.inputs, several, True, semantics, "native", options, seed, client=client))
        self.controls = [Cell(method, self.semantics[0]) for method in CONTROLS]
        if not self._cells():
            raise UnsupportedError(next(iter(self.study.refused.values())))
        depths = choose_depths(net, mode.depths)
        self.plan = Plan(
            images=self.study.images,
            classes=true_classes(net, self.study.images, pictures.labels),
            depths=depths,
            starts=_starts(net, depths, mode.starts),
            layers=self._layers,
            vector_images=min(mode.vector_images, len(self.study.images)),
            vectors=mode.vectors,
            seed=seed,
            parts=mode.parts_for(net),
            hidden_images=min(mode.hidden_for(net), len(self.study.images)),
            patch=options["occlusion"]["patch"],
        )
        self.missing = self._refused()
        self.cells, self._expected = self._within(self._cells())

    def _within(self, cells: Sequence[Cell]) -> tuple[list[Cell], float]:
        """The cells that are measured, the first ones, and how many seconds all will take; what is left out is missing."""
        each = [expected_seconds(self.net, self.plan, cell.method) for cell in cells]
        beside = sum(expected_seconds(self.net, self.plan, cell.method) for cell in self.controls)
        most = np.inf if self._minutes is None else 60 * self._minutes - beside
        kept = max(1, int(np.searchsorted(np.cumsum(each), most, side="right")))
        for cell in cells[kept:]:
            reason = f"Its {_shown(expected_seconds(self.net, self.plan, cell.method))} are beyond `minutes` {self._minutes:g}."
            self.missing.append(Missing(cell.method, self._covered(cell, cells), f"{reason} Expected more, or its name with --methods."))
        return list(cells[:kept]), beside + sum(each[:kept])

    def result(self, out: Path, command: str, steps: Steps) -> AuditResult:
        """Measures what the run directory does not hold yet, and writes record and report."""
        began = time.monotonic()
        run = Run(out, self._request(), {"command": command})
        if not run.finished:
            checks = checked(self.net, self.plan.images, self.expect)
            passed = all(check.passed for check in checks)
            controls, findings = self._findings(run, steps) if passed else ([], [])
            taken = time.monotonic() - began
            about = Circumstances(self.net, self.pictures, self.plan, self.mode.name, self.semantics, command, taken)
            write_report(recorded(about, checks, findings, controls, self.missing), self._examples(findings), out)
            if passed:
                run.finish()
        return AuditResult(json.loads((out / RECORD).read_text(encoding="utf-8")), out)

    def _request(self) -> dict[str, Any]:
        record, classes = self.study.record(), self.plan.classes.index.tolist()
        same = {name: record[name] for name in ("model", "weights_sha256", "images_sha256", "seed")}
        same["methods"] = {method.name: record["methods"][method.name] for method in self._chosen if method.name in record["methods"]}
        how = {"study": "audit", "mode": self.mode.name, "semantics": list(self.semantics), "minutes": self._minutes}
        how |= {"parts": self.plan.parts, "hidden_images": self.plan.hidden_images}
        return {**how, **same, "images": self.pictures.names, "classes": classes, "expect_sha256": self.expect and file_sha256(self.expect)}

    def _cells(self) -> list[Cell]:
        """One cell per method and semantics, only the first semantics where the rules are the same; those of the first semantics first."""
        cells = [cell for cell in self.study.requests if cell.method in self._chosen]
        kept = [cell for cell in cells if cell.semantics == self.semantics[0] or not self._is_same(cell.method)]
        return sorted(kept, key=lambda cell: self.semantics.index(cell.semantics))

    def _is_same(self, method: Method) -> bool:
        """Whether what is measured of a method is the same under all semantics."""
        if method.same_semantics or not method.csc:
            return method.same_semantics
        rules = [self._rules(cell) for cell in self.study.requests if cell.method is method]
        return len(rules) == len(self.semantics) and all(one == rules[0] for one in rules)

    def _rules(self, cell: Cell) -> tuple:
        graph, request = self.net.graph, self.study.requests[cell]
        rules = rules_for(graph, cell.method.key, cell.semantics, request.options)
        rules = without_unseen_placeholders(graph, rules, self._layers)
        return [[rule for _, rule in pairs] for pairs in rules.values()], flow_of(graph, cell.method.key, cell.semantics)

    def _refused(self) -> list[Missing]:
        """What does not apply, once for a method that does not apply under any semantics."""
        refused = self.study.refused
        applying = {cell.method.name for cell in self.study.requests}
        whole = {cell.method.name: Missing(cell.method, None, reason) for cell, reason in reversed(refused.items())}
        rest = [Missing(cell.method, cell.semantics, reason) for cell, reason in refused.items() if cell.method.name in applying]
        return [whole[name] for name in dict.fromkeys(cell.method.name for cell in refused) if name not in applying] + rest

    def _findings(self, run: Run, steps: Steps) -> tuple[list[Finding], list[Finding]]:
        """Of the controls, and of the methods."""
        cells = list(dict.fromkeys([*self.controls, *self.cells]))
        methods = f"{len(self.cells)} measurement{'s' * (len(self.cells) != 1)}, {len(self.plan.images)} images"
        steps.tell(f"{methods}: about {_shown(self._expected)} on two idle cores.")
        if self.study.client is not None:
            fill(self.study, run, steps, 1, self._units, one_step, cells)
            steps = Steps()
        steps.start(len(cells))
        found: dict[Cell, Finding] = {}
        for cell in cells:
            try:
                found[cell] = self._finding(run, cell, steps)
            except UnsupportedError as error:  # what only the study itself can tell
                self.missing.append(Missing(cell.method, None, error.reason))
                steps.advance(1, cell.method.label, cell.semantics)
        return [found[cell] for cell in self.controls], [found[cell] for cell in self.cells if cell in found]

    def _units(self, cell: Cell, kept: Mapping[str, Arrays]) -> list[Unit]:
        compute = Examination(replace(self.plan, images=self.plan.images[:0]), self._name)
        return [] if kept else [Unit(cell, "evidence", self.plan.images, compute)]

    def _finding(self, run: Run, cell: Cell, steps: Steps) -> Finding:
        """From what an interrupted audit, or a worker, has left, or measured now."""
        if cell in self.study.refused:
            raise UnsupportedError(self.study.refused[cell])

        def compute(there: Mapping[str, Arrays]) -> Iterator[Piece]:
            for unit in self._units(cell, there):
                yield Piece(unit.name, unit.compute(self.study.work(cell, unit.images)))

        (arrays,) = pieces_of(run, cell.key, compute, steps, (cell.method.label, cell.semantics)).values()
        measured = json.loads(str(arrays["measured"]))
        curves = {name: arrays[name] for name in (MOST, LEAST, SHARE) if name in arrays}
        evidence = Evidence([Measurement(**test) for test in measured["tests"]], measured["csc"], arrays.get("maps"), curves)
        covered = self._covered(cell, self._cells()) if cell.method in self._chosen else "both"
        return Finding(cell, covered, self.study.requests[cell].options, evidence, measured["seconds"])

    def _covered(self, cell: Cell, cells: Sequence[Cell]) -> str:
        """The semantics that a cell stands for: "both" where they are the same for its method."""
        others = [one for one in (*cells, *self.study.refused) if one.method is cell.method and one != cell]
        return cell.semantics if others or len(self.semantics) == 1 else "both"

    def _examples(self, findings: Sequence[Finding]) -> Examples | None:
        maps = {(one.cell.method.name, one.semantics): one.evidence.examples for one in findings if one.evidence.examples is not None}
        if not maps or not self.pictures.pixels.size:
            return None
        count = len(next(iter(maps.values())))
        classes = self.plan.classes.index
        others = others_of(self.net, self.plan)
        both = np.stack([classes, np.full_like(classes, -1) if others is None else others], axis=1)
        return Examples(self.pictures.names[:count], self.pictures.pixels[:count], maps, both[:count])


@dataclass(frozen=True, eq=False)
class Examination:
    """Computes a unit: all that is measured of a method, for a plan without its images; `course` is the name of the audit."""

    plan: Plan
    course: str

    def __call__(self, work: Work) -> dict[str, np.ndarray]:
        plan = replace(self.plan, images=work.images)
        begun = time.monotonic()
        evidence = work.opening.kept(self.course, lambda: Examiner(work.net, plan)).examine(work.request)
        tests = [asdict(test) for test in evidence.tests]
        words = json.dumps({"tests": tests, "csc": evidence.csc, "seconds": time.monotonic() - begun})
        maps = {} if evidence.examples is None else {"maps": evidence.examples}
        return {"measured": np.array(words), **maps, **evidence.curves}


def _shown(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _starts(net: Network, depths: Sequence[str], count: int) -> list[str]:
    """Start layers of random relevance, the one that the verdict takes first: the output, but for a network with two logits or less,
    where all relevance is one direction, the topmost cut."""
    output = net.graph.output
    if has_others(net):
        return [output, *depths[1 : 1 + count]]
    return [depth for depth in depths[: 1 + count] if net.graph[depth].shape[-1] > 2]


def _first(pictures: ImageSet, count: int) -> ImageSet:
    fields = ("names", "pixels", "inputs", "labels", "sha256")
    cut = {name: getattr(pictures, name)[:count] for name in fields}
    return replace(pictures, **cut)
