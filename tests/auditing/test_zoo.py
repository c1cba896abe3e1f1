"""Audits of a list: what is refused or fails stands in the table, what is finished is not done again, and workers write the same files."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import loaded
from interruption import Interrupting

import wel
from wel.auditing import zoo
from wel.auditing.index import write_index
from wel.auditing.zoo import Entry, Manner, read_entries, zoo_audit

MANNER = Manner(methods=("gradient", "lrp_z"), semantics="paper")


@pytest.fixture
def folder(functional, images, tmp_path):
    functional.save(tmp_path / "tiny.h5")
    np.save(tmp_path / "images.npy", images)
    np.savez(tmp_path / "expect.npz", predictions=loaded(functional).logits(images))
    (tmp_path / "junk.h5").write_bytes(b"junk")
    lines = ["model,images,expect", "tiny.h5,images.npy,", "junk.h5,images.npy,", "tiny.h5,nowhere,", "tiny.h5,images.npy,expect.npz"]
    (tmp_path / "list.csv").write_text("\n".join(lines))
    return tmp_path


def test_models_are_audited_and_refused_with_reasons(folder):
    entries, steps = read_entries(folder / "list.csv", MANNER), Interrupting()
    result = zoo_audit(entries, folder / "out", MANNER, steps)
    first, junk, nowhere, stored = (entry.folder for entry in entries)
    assert steps.done == steps.total == 4
    assert list(result.records) == [first, stored] and list(result.refused) == [junk, nowhere] and not result.failed
    assert "junk.h5' is not a Keras model file" in result.refused[junk] and "nowhere'. Expected an existing" in result.refused[nowhere]
    alone = wel.audit(wel.load(folder / "tiny.h5"), wel.load_images(wel.load(folder / "tiny.h5"), folder / "images.npy"), folder / "alone",
                      methods=MANNER.methods, semantics="paper").record  # fmt: skip
    assert [one["tests"] for one in result.records[first]["methods"]] == [one["tests"] for one in alone["methods"]]
    assert [check["name"] for check in result.records[stored]["checks"]] == ["forward pass", "expected predictions"]
    words = f"wel audit {folder}/tiny.h5 --images {folder}/images.npy --methods gradient,lrp_z --semantics paper --seed 0"
    assert result.records[first]["command"] == words
    page = result.page.read_text()
    assert page.count(f'href="{first}/report.html"') == 1 and page.count("refused</span>") == 2


def test_what_is_finished_is_not_audited_again_and_a_model_that_has_changed_is_told(folder, functional, monkeypatch):
    entries, asked, real = read_entries(folder / "list.csv", MANNER)[:1], [], zoo.audit
    monkeypatch.setattr(zoo, "audit", lambda *given, **more: asked.append(given[0].name) or real(*given, **more))
    for _ in range(2):
        result = zoo_audit(entries, folder / "out", MANNER)
    assert asked == ["tiny"] and list(result.records) == [entries[0].folder]
    before = functional.get_weights()
    try:
        functional.set_weights([2 * array for array in before])
        functional.save(folder / "tiny.h5")
    finally:
        functional.set_weights(before)
    result = zoo_audit(entries, folder / "out", MANNER)
    assert asked == ["tiny"] and result.refused[entries[0].folder].startswith("Its file has changed since it was audited. Expected another")


def test_an_error_of_one_audit_is_named_and_the_others_are_done(folder, monkeypatch):
    entries, real = read_entries(folder / "list.csv", MANNER), zoo.audit

    def audit(*given, expect, **more):
        if expect is None:
            raise RuntimeError("out of luck")
        return real(*given, expect=expect, **more)

    monkeypatch.setattr(zoo, "audit", audit)
    result = zoo_audit(entries, folder / "out", MANNER)
    assert result.failed == {entries[0].folder: "RuntimeError: out of luck"} and list(result.records) == [entries[3].folder]


def test_an_interrupted_list_goes_on(folder):
    entries = read_entries(folder / "list.csv", MANNER)
    with pytest.raises(KeyboardInterrupt):
        zoo_audit(entries, folder / "out", MANNER, Interrupting(after=1))
    assert (folder / "out" / "index.html").read_text().count(">waiting<") == 3
    assert list(zoo_audit(entries, folder / "out", MANNER).records) == [entries[0].folder, entries[3].folder]


def test_workers_write_the_same(folder):
    distributed = pytest.importorskip("distributed")
    entries = read_entries(folder / "list.csv", MANNER)
    with distributed.Client(processes=False, n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as client:
        steps = Interrupting()
        there = zoo_audit(entries, folder / "there", MANNER, steps, client)
    here = zoo_audit(entries, folder / "here", MANNER)
    assert steps.done == steps.total == 4 and there.refused == here.refused
    assert [sorted(path.name for path in (folder / "there" / entry.folder).iterdir()) for entry in entries[::3]] == [sorted(zoo.FILES)] * 2
    for records in (there.records, here.records):
        for record in records.values():
            for part in (record, *record["methods"], *record["controls"]):
                del part["seconds"]
    assert there.records == here.records
    assert json.loads((folder / "there" / entries[0].folder / "run.json").read_text())["finished"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("network\nx.h5\n", "Received network"),
        ("model,allow_code\nx.h5,yes\n", "Received model, allow_code"),
        ("model,model\nx.h5,y.h5\n", "Received model, model"),
        ("model\n", "Expected a line for each model. Received none"),
        ("model,images\n,x\n", "Expected a model in every line"),
        ("model\nx.h5,y,z\n", "no more fields than columns"),
        ("", "Received nothing"),
    ],
)
def test_lists_that_cannot_be_read(tmp_path, text, message):
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(wel.WelError, match=message):
        read_entries(tmp_path / "list.csv", MANNER)


def test_folders_are_named_after_what_is_asked_for(tmp_path):
    (tmp_path / "list.csv").write_text("model,preprocess\n../a b.h5,tf\ncifar10,\ncifar10,\n")
    first, second = read_entries(tmp_path / "list.csv", MANNER)  # equal lines once
    assert first.model == f"{tmp_path}/../a b.h5" and first.folder.startswith("a_b-") and second.model == "cifar10"
    assert read_entries(tmp_path / "list.csv", Manner(seed=1))[1].folder != second.folder


def test_names_on_the_page_are_text(tmp_path):
    write_index(tmp_path / "index.html", [Entry("<script>alert(1)</script>.h5", {}, "x-1")], {}, {"x-1": "<b>no</b>"})
    page = (tmp_path / "index.html").read_text()
    assert "<script>alert" not in page and "&lt;b&gt;no&lt;/b&gt;" in page and page.count("<script>") == 1
