"""The command `audit`: what it looks at, its exit codes, its page."""

import html.parser
import json
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from keras_padsafe.audit import CODES

from .conftest import Run

pytestmark = pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a")

IDS = np.array([[5, 3, 7, 2], [1, 2, 0, 0], [4, 7, 0, 0]], "int32")


def save(folder: Path, *parts: keras.layers.Layer) -> Path:
    model = keras.Sequential(
        [
            keras.Input((4,), dtype="int32"),
            layers.Embedding(
                9, 6, mask_zero=True, embeddings_initializer="zeros", name="tokens"
            ),
            *parts,
        ]
    )
    table = np.random.default_rng(0).normal(size=(9, 6))
    table[0] = 0
    model.layers[0].set_weights([table])
    model.compile("sgd", "mse")
    model.save(folder / "model.keras")
    return folder / "model.keras"


@pytest.fixture
def healthy(tmp_path: Path) -> Path:
    return save(tmp_path, layers.LSTM(3), layers.Dense(1))


@pytest.fixture
def leaking(tmp_path: Path) -> Path:
    pool = layers.GlobalMaxPooling1D(name="top")
    return save(tmp_path, pool, layers.Dense(1))


@pytest.fixture
def batch(tmp_path: Path) -> Path:
    path = tmp_path / "batch.npz"
    np.savez(path, x=IDS, y=np.zeros((3, 1), "float32"))
    return path


def codes(document: str) -> list[str]:
    return [finding["code"] for finding in json.loads(document)["findings"]]


def test_a_healthy_file_passes(run: Run, healthy: Path, batch: Path) -> None:
    assert run("audit", healthy).exit_code == 0
    result = run("audit", healthy, "--batch", batch, "--json")
    assert (result.exit_code, codes(result.stdout)) == (0, [])
    document = json.loads(result.stdout)
    assert document["passed"]
    looked_at = ["ids", "masks", "non-finite values", "padding", "weights"]
    assert sorted(document["checks"]) == looked_at
    assert document["backend"] == keras.backend.backend()


def test_without_a_batch_the_configuration_is_read(run: Run, leaking: Path) -> None:
    result = run("audit", leaking, "--json")
    assert (result.exit_code, codes(result.stdout)) == (1, ["PS302"])
    screen = run("audit", leaking).stdout
    assert "PS302 error: mask ignored  top" in screen
    assert "keras-padsafe repair" in screen


def test_with_a_batch_the_leak_is_measured(
    run: Run, leaking: Path, batch: Path
) -> None:
    result = run("audit", leaking, "--batch", batch, "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)["findings"]
    assert {(f["code"], f["place"]) for f in found} >= {("PS302", "top")}
    assert any(f["code"] in ("PS401", "PS402") and f["place"] == "top" for f in found)


def test_an_empty_row_is_found_in_data_and_model(run: Run, tmp_path: Path) -> None:
    pool = layers.GlobalAveragePooling1D(name="pool")
    model = save(tmp_path, pool, layers.Dense(1))
    ids = IDS.copy()
    ids[1] = 0
    np.save(tmp_path / "ids.npy", ids)
    result = run("audit", model, "--batch", tmp_path / "ids.npy", "--json")
    assert codes(result.stdout)[:2] == ["PS501", "PS103"]


def test_the_page_holds_every_finding_and_loads_nothing(
    run: Run, leaking: Path, batch: Path, tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    result = run("audit", leaking, "--batch", batch, "--html", page, "--json")
    text = page.read_text(encoding="utf-8")
    for finding in json.loads(result.stdout)["findings"]:
        code = finding["code"]
        assert f'<a href="#{code}">{code}</a> {finding["title"]}' in text
        assert f'id="{code}"><h3>{code} {finding["title"]}' in text
    assert "http" not in text
    assert "<script" not in text
    assert text.count('class="cell moved') > 1  # the legend's, and the layer's
    _Balanced().check(text)
    assert "prefers-color-scheme: dark" in text
    assert 'role="img" title="a real position that changes' in text

    again = run("audit", leaking, "--html", page)
    assert (again.exit_code, "--force" in again.stderr) == (2, True)
    assert page.read_text(encoding="utf-8") == text


class _Balanced(html.parser.HTMLParser):
    def check(self, text: str) -> None:
        self.open: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_names_of_a_file_cannot_write_into_the_page() -> None:
    from keras_padsafe.cli.audit_html import audit_html

    evil = "<script>alert(1)</script>"
    finding = {
        "code": "PS501",
        "title": CODES["PS501"].title,
        "severity": "error",
        "place": evil,
        "message": evil,
        "fix": evil,
        "evidence": {evil: [evil]},
    }
    layer = {"path": evil, "kind": evil, "states": ["real"], "finite": True}
    page = audit_html(
        {
            "model": evil,
            "version": "1",
            "batch": evil,
            "backend": "jax",
            "passed": False,
            "verdict": "wrong",
            "findings": [finding],
            "checks": {evil: {"findings": [], "not_looked_at": [evil]}},
            "skipped": {evil: evil},
            "picture": {"row": 0, "layers": [layer]},
        }
    )
    assert "<script" not in page


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (None, "could not be read"),
        ({"y": np.zeros(3)}, "it holds no input"),
        ({"x": np.array([{}, {}], object)}, "plain numbers"),
    ],
)
def test_a_batch_that_is_none_is_refused(
    run: Run, healthy: Path, tmp_path: Path, arrays: object, message: str
) -> None:
    path = tmp_path / "other.npz"
    if isinstance(arrays, dict):
        np.savez(path, **arrays)
    result = run("audit", healthy, "--batch", path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


def test_a_batch_that_is_a_model_is_refused(run: Run, healthy: Path) -> None:
    result = run("audit", healthy, "--batch", healthy)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "is no array" in result.stderr
    assert "numpy.savez" in result.stderr


def test_a_batch_of_another_shape_is_explained(
    run: Run, healthy: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "other.npy", np.ones((2, 4, 3), "int32"))
    result = run("audit", healthy, "--batch", tmp_path / "other.npy")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "does not take this batch" in result.stderr


def test_an_id_outside_the_table_is_a_finding(
    run: Run, healthy: Path, tmp_path: Path
) -> None:
    ids = IDS.copy()
    ids[2, 1] = 9
    np.save(tmp_path / "ids.npy", ids)
    result = run("audit", healthy, "--batch", tmp_path / "ids.npy", "--json")
    assert result.exit_code == 1
    assert set(codes(result.stdout)) == {"PS101", "PS502"}


def test_each_input_is_held_against_its_own_table(run: Run, tmp_path: Path) -> None:
    words = keras.Input((4,), dtype="int32", name="words")
    users = keras.Input((4,), dtype="int32", name="users")
    x = layers.Embedding(9, 6, mask_zero=True)(words)
    x = layers.LSTM(6)(x + layers.Embedding(4, 6)(np.arange(4)))
    y = layers.GlobalAveragePooling1D()(layers.Embedding(20, 6)(users))
    inputs = {"words": words, "users": users}
    keras.Model(inputs, layers.Add()([x, y])).save(tmp_path / "two.keras")
    np.savez(tmp_path / "two.npz", words=IDS, users=IDS + 12)
    arguments = ("audit", tmp_path / "two.keras", "--batch", tmp_path / "two.npz")
    assert "PS101" not in codes(run(*arguments, "--json").stdout)
    np.savez(tmp_path / "two.npz", words=IDS + 5, users=IDS + 12)
    document = json.loads(run(*arguments, "--json").stdout)
    found = [f["place"] for f in document["findings"] if f["code"] == "PS101"]
    assert found == ["input words"]


def test_a_model_of_unknown_classes_is_explained(
    run: Run, tmp_path: Path, batch: Path
) -> None:
    class Unknown(layers.Layer):
        def call(self, x: object) -> object:
            return x

    path = save(tmp_path, Unknown(), layers.Flatten(), layers.Dense(1))
    result = run("audit", path, "--batch", batch)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--import MODULE" in result.stderr


def test_a_file_that_is_no_model(run: Run, tmp_path: Path) -> None:
    (tmp_path / "no.keras").write_text("no")
    result = run("audit", tmp_path / "no.keras")
    assert (result.exit_code, result.stdout) == (2, "")


def test_weights_alone_are_no_proof_of_a_model(run: Run, tmp_path: Path) -> None:
    weights = tmp_path / "model.weights.h5"
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save_weights(weights)
    result = run("audit", weights)
    assert (result.exit_code, "NOT PROVED" in result.stdout) == (1, True)
    assert "Audit the .keras file" in result.stdout
