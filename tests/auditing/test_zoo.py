"""Audits of a list: what is refused or fails stands in the table, what is finished is not done again, and workers write the same files."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import loaded
from interruption import Interrupting
from PIL import Image

import wel
from wel.auditing import zoo
from wel.auditing.index import Summary, write_index
from wel.auditing.zoo import Entry, Manner, read_entries, zoo_audit
from wel.cli.app import main

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
    assert list(result.audits) == [first, stored] and list(result.refused) == [junk, nowhere] and not result.failed
    assert "junk.h5' is not a Keras model file" in result.refused[junk] and "nowhere'. Expected an existing" in result.refused[nowhere]
    alone = wel.audit(wel.load(folder / "tiny.h5"), wel.load_images(wel.load(folder / "tiny.h5"), folder / "images.npy"), folder / "alone",
                      methods=MANNER.methods, semantics="paper").record  # fmt: skip
    record = recorded(folder / "out" / first)
    assert [one["tests"] for one in record["methods"]] == [one["tests"] for one in alone["methods"]]
    checks = recorded(folder / "out" / stored)["checks"]
    assert [check["name"] for check in checks] == ["forward pass", "expected predictions"]
    words = f"wel audit {folder}/tiny.h5 --images {folder}/images.npy --methods gradient,lrp_z --semantics paper --seed 0"
    assert record["command"] == words
    page = result.page.read_text()
    assert page.count(f'href="{first}/report.html"') == 1 and page.count('<td data-value="refused">') == 2


def recorded(audit: Path) -> dict:
    """What an audit found, without its times."""
    record = json.loads((audit / "audit.json").read_text())
    for part in (record, *record["methods"], *record["controls"]):
        del part["seconds"]
    return record


def test_what_is_finished_is_not_audited_again(folder, monkeypatch):
    entries, asked, real = read_entries(folder / "list.csv", MANNER)[:1], [], zoo.audit
    monkeypatch.setattr(zoo, "audit", lambda *given, **more: asked.append(given[0].name) or real(*given, **more))
    for _ in range(2):
        steps = Interrupting()
        result = zoo_audit(entries, folder / "out", MANNER, steps)
        assert steps.done == steps.total == 1 and list(result.audits) == [entries[0].folder] and not result.refused
    assert asked == ["tiny"]


@pytest.mark.parametrize("changed", ["model", "weights", "images", "labels", "expect"])
def test_what_has_changed_since_it_was_audited_is_told(folder, functional, images, changed):
    """Whatever file a line names; also when another list, elsewhere, says the same of other files."""
    (folder / "tiny.json").write_text(functional.to_json())
    functional.save_weights(folder / "tiny.weights.h5")
    (folder / "pictures").mkdir()
    for name in "ab":
        Image.fromarray(np.full((8, 8, 3), 99, "uint8")).save(folder / "pictures" / f"{name}.png")
    (folder / "labels.csv").write_text("file,label\na.png,0\n")
    stored = {"predictions": loaded(functional).logits(images), "inputs": images}
    np.savez(folder / "expect.npz", **stored)
    (folder / "list.csv").write_text(
        "model,weights,images,labels,expect\ntiny.json,tiny.weights.h5,pictures,labels.csv,expect.npz\ntiny.h5,,images.npy,,\n"
    )
    entries = read_entries(folder / "list.csv", MANNER)
    first = zoo_audit(entries, folder / "out", MANNER)
    assert len(first.audits) == 2 and not first.refused
    if changed == "model":
        (folder / "tiny.json").write_text(functional.to_json(indent=1))
    elif changed == "weights":
        shutil.copy(folder / "tiny.h5", folder / "tiny.weights.h5")
    elif changed == "images":
        (folder / "pictures" / "b.png").unlink()
    elif changed == "labels":
        (folder / "labels.csv").write_text("file,label\na.png,1\n")
    else:
        np.savez(folder / "expect.npz", **stored, more=1)
    result = zoo_audit(entries, folder / "out", MANNER)
    expected = f"what was audited, another `out`, or '{entries[0].folder}' removed"
    assert result.refused == {entries[0].folder: f"Changed since it was audited: {changed}. Expected {expected}."}
    assert list(result.audits) == list(first.audits)  # whose reports are still linked


def test_an_error_of_one_audit_is_named_and_the_others_are_done(folder, monkeypatch):
    entries, real = read_entries(folder / "list.csv", MANNER), zoo.audit

    def audit(*given, expect, **more):
        if expect is None:
            raise RuntimeError("out of luck")
        return real(*given, expect=expect, **more)

    monkeypatch.setattr(zoo, "audit", audit)
    result = zoo_audit(entries, folder / "out", MANNER)
    assert result.failed == {entries[0].folder: "RuntimeError: out of luck"} and list(result.audits) == [entries[3].folder]
    page = result.page.read_text()
    assert page.count('<span class="failed">failed</span>') == 2 and ">failed</span>.</p>" in page


def test_the_page_is_not_written_for_each_of_many(folder, monkeypatch):
    """Four lines within the time: once at the first, and once at the end."""
    written, real = [], zoo.write_index
    monkeypatch.setattr(zoo, "write_index", lambda *given: written.append(1) or real(*given))
    monkeypatch.setattr(zoo, "RENEWED", 600)
    zoo_audit(read_entries(folder / "list.csv", MANNER), folder / "out", MANNER)
    assert len(written) == 2


def test_an_interrupted_list_goes_on(folder):
    entries = read_entries(folder / "list.csv", MANNER)
    with pytest.raises(KeyboardInterrupt):
        zoo_audit(entries, folder / "out", MANNER, Interrupting(after=1))
    assert (folder / "out" / "index.html").read_text().count('<td data-value="waiting">') == 3
    assert list(zoo_audit(entries, folder / "out", MANNER).audits) == [entries[0].folder, entries[3].folder]


@pytest.fixture(scope="module")
def client():
    """Two workers in this process."""
    distributed = pytest.importorskip("distributed")
    with distributed.Client(processes=False, n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as client:
        yield client


@pytest.fixture
def cursed(monkeypatch):
    """A model that cannot be opened for a reason that nobody has thought of."""
    real = zoo.load

    def load(model, *given, **more):
        if "cursed" in model:
            raise RuntimeError("out of luck")
        return real(model, *given, **more)

    monkeypatch.setattr(zoo, "load", load)


def test_workers_write_the_same(folder, client, cursed):
    (folder / "other.npz").write_bytes(b"junk")
    with open(folder / "list.csv", "a") as file:
        file.write("\ntiny.h5,images.npy,nowhere.npz\ntiny.h5,images.npy,other.npz\ncursed.h5,images.npy,")
    entries, steps = read_entries(folder / "list.csv", MANNER), Interrupting()
    there = zoo_audit(entries, folder / "there", MANNER, steps, client)
    here = zoo_audit(entries, folder / "here", MANNER)
    assert steps.done == steps.total == len(entries) == 7
    assert len(here.refused) == 4 and len(here.failed) == 1 and "nowhere.npz' cannot be read" in here.refused[entries[4].folder]
    assert (there.refused, there.failed, there.audits) == (here.refused, here.failed, here.audits)
    for entry in entries[::3][:2]:
        assert recorded(folder / "there" / entry.folder) == recorded(folder / "here" / entry.folder)
        written = [sorted(path.name for path in (folder / where / entry.folder).iterdir()) for where in ("here", "there")]
        assert written == [sorted([*zoo.FILES, zoo.SOURCES])] * 2
        assert json.loads((folder / "there" / entry.folder / "run.json").read_text())["finished"]


@pytest.mark.parametrize("written", [zoo.FILES[:2], ["run.json", "parts"]])
def test_workers_go_on_where_something_was_killed(folder, client, written):
    """Between two of the files, or in the middle of an audit without workers, whose pieces are not needed."""
    entries, out = read_entries(folder / "list.csv", MANNER)[:1], folder / "out"
    for left in (entries[0].folder, f".{entries[0].folder}"):
        (out / left / "parts").mkdir(parents=True)
        (out / left / written[0]).write_text("{")
    assert zoo_audit(entries, out, MANNER, client=client).audits
    assert sorted(path.name for path in out.iterdir()) == sorted([entries[0].folder, "index.html"])
    assert sorted(path.name for path in (out / entries[0].folder).iterdir()) == sorted([*zoo.FILES, zoo.SOURCES])


def test_a_scheduler_holds_one_network_for_each_worker(folder, client, monkeypatch):
    lines = [f"tiny.h5,images.npy,scale:0-{n}" for n in range(1, 6)]
    (folder / "list.csv").write_text("\n".join(["model,images,preprocess", *lines]).replace("images.npy", "pictures.npy"))
    np.save(folder / "pictures.npy", np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), "uint8"))
    sent, ended, most, real = [], [], [], zoo._sent
    monkeypatch.setattr(zoo, "_sent", lambda *given: sent.append(1) or most.append(len(sent) - len(ended)) or real(*given))
    monkeypatch.setattr(zoo, "_written", lambda *given, real=zoo._written: ended.append(1) or real(*given))
    assert len(zoo_audit(read_entries(folder / "list.csv", MANNER), folder / "out", MANNER, client=client).audits) == 5
    assert len(sent) == 5 and max(most) == 2  # workers


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("network\nx.h5\n", "Received network"),
        ("model,allow_code\nx.h5,yes\n", "Received model, allow_code"),
        ("model,model\nx.h5,y.h5\n", "Received model, model"),
        ("model\n", "Expected a line for each model. Received none"),
        ("model,images\ny,\n\n,x\n", r"Expected a model in every line.* Received \['', 'x'\] in line 4"),
        ("model\nx.h5,y,z\n", r"no more fields than columns. Received \['x.h5', 'y', 'z'\] in line 2"),
        ('model\n"x.h5\n', "It cannot be read .unexpected end of data"),
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


@pytest.mark.parametrize(
    "written",
    [
        b'\xef\xbb\xbfmodel,images,output_index\r\n\r\ngr\xc3\xbcn.h5,a b,"3,4"\r\n,,\r\n',
        "\n Model ; IMAGES;Output_Index\ngrün.h5; a b ;3,4\n".encode(),
        'output_index,images,model\n"3,4",a b,grün.h5\n'.encode(),
    ],
)
def test_lists_as_spreadsheets_write_them(tmp_path, written):
    (tmp_path / "list.csv").write_bytes(written)
    (entry,) = read_entries(tmp_path / "list.csv", MANNER)
    assert entry.given == {"images": f"{tmp_path}/a b", "output_index": "3,4"} and entry.model == f"{tmp_path}/grün.h5"
    assert entry.folder.startswith("grün-")


@pytest.mark.parametrize("written", ["model\ngrün.h5\n".encode("latin-1"), "model\nx.h5\n".encode("utf-16")])
def test_other_text_than_utf8_is_refused_for_that_reason(tmp_path, written):
    (tmp_path / "list.csv").write_bytes(written)
    with pytest.raises(wel.WelError, match="Received other text than UTF-8"):
        read_entries(tmp_path / "list.csv", MANNER)


def test_a_page_of_somebody_elses_is_not_written_over(folder):
    (folder / "index.html").write_text("<h1>Home</h1>")
    with pytest.raises(wel.WelError, match="Expected a new directory, or one of an earlier `wel zoo-audit`"):
        zoo_audit(read_entries(folder / "list.csv", MANNER), folder, MANNER)
    assert (folder / "index.html").read_text() == "<h1>Home</h1>"


def test_the_page_counts_models_and_advice(tmp_path):
    """Two audited models: LRP-z is to be used on both, Gradient on one and not on the other; the stopped one does not count."""
    entries = [Entry({"model": f"{name}.h5", "output_index": "3,4"}, "", {}, name) for name in "abcde"]
    first = Summary(
        5, 2, {"insensitive": 0, "inconclusive": 0, "sensitive": 2}, {"use": ["LRP-z", "Gradient"], "cannot_tell": [], "do_not_use": []}
    )
    other = first._replace(advice={"use": ["LRP-z"], "cannot_tell": [], "do_not_use": ["Gradient"]})
    write_index(tmp_path / "index.html", entries, {"a": first, "b": other, "c": first}, {"c": "stopped"}, {"d": "died"})
    words = " ".join(re.sub(r"<style.*?</style>|<[^>]*>", " ", (tmp_path / "index.html").read_text(), flags=re.DOTALL).split())
    assert "2 audited , 1 refused , 1 failed , 1 waiting ." in words
    assert "Method Use Cannot be told Do not use LRP-z 2 0 0 Gradient 1 0 1 Model" in words
    assert "a.h5 images: bundled output index: 3,4 audited LRP-z, Gradient – 0 0 2 5 2 b.h5" in words


@pytest.mark.parametrize(("model", "code"), [("tiny.h5", 0), ("junk.h5", 2), ("cursed.h5", 70)])
def test_the_command_ends_as_wel_audit_would(folder, capsys, cursed, model, code):
    (folder / "list.csv").write_text(f"model,images\n{model},images.npy\n")
    options = ["--methods", "gradient", "--semantics", "paper", "--out", folder / "out"]
    with pytest.raises(SystemExit) as ended:
        main(list(map(str, ["zoo-audit", folder / "list.csv", *options])))
    assert (ended.value.code or 0) == code
    counts = {0: "1 audited, 0 refused, 0 failed", 2: "0 audited, 1 refused, 0 failed", 70: "0 audited, 0 refused, 1 failed"}
    assert f"{counts[code]}. Page: {folder}/out/index.html" in capsys.readouterr().out


def test_names_on_the_page_are_text(tmp_path):
    write_index(
        tmp_path / "index.html",
        [Entry({"model": "<script>alert(1)</script>.h5", "images": "<i>"}, "", {}, "x-1")],
        {},
        {"x-1": "<b>no</b>"},
        {},
    )
    page = (tmp_path / "index.html").read_text()
    assert "<script>alert" not in page and "&lt;b&gt;no&lt;/b&gt;" in page and "<i>" not in page and page.count("<script>") == 1
