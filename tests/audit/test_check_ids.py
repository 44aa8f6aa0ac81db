"""Bad ids are found before a model sees them, in whatever `fit` takes."""

import itertools
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import keras
import ml_dtypes
import numpy as np
import pytest

from keras_padsafe.audit import AuditReport, check_ids
from keras_padsafe.errors import IdError

from ..surgery.reference import only_once

ROWS = [[5, 9, 0, 0], [7, 50, 3, 2], [0, 0, 0, 0], [0, -3, 0, 1]]
CODES = ["PS101", "PS102", "PS103", "PS104", "PS105"]


def codes(report: AuditReport) -> list[str]:
    return [finding.code for finding in report]


def only(report: AuditReport, code: str) -> dict[str, Any]:
    """The evidence of the one finding with that code."""
    (found,) = [finding for finding in report if finding.code == code]
    return found.evidence


@only_once
def test_each_kind_is_one_finding_with_its_figures() -> None:
    report = check_ids(np.array(ROWS), 50, pad_id=0)
    assert codes(report) == CODES
    assert not report.passed
    assert only(report, "PS101") == {
        "ids": 1,
        "of_ids": 16,
        "rows": 1,
        "of_rows": 4,
        "smallest": 50,
        "largest": 50,
        "first": [{"batch": 0, "row": 1, "data_row": 1, "positions": [1], "ids": [50]}],
    }
    assert only(report, "PS102")["first"][0]["ids"] == [-3]
    empty = [{"batch": 0, "row": 2, "data_row": 2}]
    assert only(report, "PS103") == {"rows": 1, "of_rows": 4, "first": empty}
    assert only(report, "PS104")["first"][0]["positions"] == [2]
    assert only(report, "PS105")["left_rows"] == 1
    assert only(report, "PS105")["right_rows"] == 1
    text = str(report)
    assert "The first is in batch 0, row 1, position 1: id 50." in text


@only_once
def test_good_ids_give_nothing() -> None:
    generator = np.random.default_rng(0)
    for dtype in ("int8", "uint8", "int32", "int64", "uint64"):
        ids = generator.integers(1, 50, (6, 5)).astype(dtype)
        ids[2:4, 3:] = 0
        assert not len(check_ids(ids, 50, pad_id=0)), dtype


@only_once
@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ([4, 5, 0, 0], []),
        ([0, 0, 4, 5], []),
        ([0, 4, 5, 0], ["PS105"]),  # padded at both ends, which is not inside
        ([4, 0, 5, 0], ["PS104"]),
        ([0, 4, 0, 0], ["PS105"]),
        ([0, 0, 0, 0], ["PS103"]),
        ([4], []),
        ([0], ["PS103"]),
        ([0, 4], []),
        ([4, 0], []),
        ([], ["PS103"]),
        ([4, -1, 0, 5], ["PS104"]),  # any of the pad ids is padding
        ([-1, 0, 4, 5], []),
    ],
)
def test_what_counts_as_inside(row: list[int], expected: list[str]) -> None:
    assert codes(check_ids([row], 9, pad_id=[0, -1])) == expected


@only_once
def test_sides_are_compared_over_all_batches() -> None:
    left, right = np.array([[0, 0, 3]]), np.array([[3, 0, 0]])
    assert not len(check_ids(iter([left, left]), 9, 0))
    evidence = only(check_ids(iter([left, right, right]), 9, 0), "PS105")
    assert (evidence["left_rows"], evidence["right_rows"]) == (1, 2)
    assert evidence["first_right"][0] == {"batch": 1, "row": 0, "data_row": 1}


@only_once
def test_pad_ids_need_no_row() -> None:
    assert not len(check_ids([[3, -1, -1], [4, 99, 99]], 9, pad_id=(-1, 99)))
    assert codes(check_ids([[3, -1, 99]], 9)) == ["PS101", "PS102"]


@only_once
def test_rows_are_counted_through_the_data() -> None:
    batches = [np.full((3, 2), 1), np.full((3, 2), 1), np.array([[1, 1], [1, 70]])]
    evidence = only(check_ids(iter(batches), 9), "PS101")
    expected = {"batch": 2, "row": 1, "data_row": 7, "positions": [1], "ids": [70]}
    assert evidence["first"] == [expected]


@only_once
def test_a_large_array_gives_the_figures_of_numpy() -> None:
    """More ids than are looked at in one go, against counts made in one line each."""
    generator = np.random.default_rng(1)
    ids = generator.integers(-2, 1003, (80_000, 30))
    report = check_ids(ids, 1000)
    for code, bad in (("PS101", ids >= 1000), ("PS102", ids < 0)):
        evidence = only(report, code)
        assert evidence["ids"] == bad.sum()
        assert evidence["rows"] == bad.any(1).sum()
        first = np.flatnonzero(bad.any(1))[:5].tolist()
        assert [row["data_row"] for row in evidence["first"]] == first
    late = np.ones((80_000, 30), int)
    late[79_998, 7] = 1000
    (row,) = only(check_ids(late, 1000), "PS101")["first"]
    assert (row["row"], row["data_row"], row["positions"]) == (79_998, 79_998, [7])


@only_once
def test_ragged_rows_are_as_the_same_rows_padded() -> None:
    generator = np.random.default_rng(2)
    rows = [generator.integers(-2, 12, n) for n in generator.integers(0, 9, 300)]
    padded = np.full((300, 9), -9)
    for number, row in enumerate(rows):
        padded[number, : len(row)] = row
    expected = check_ids(padded, 10, pad_id=[-9, 0])
    for ragged in (rows, [row.tolist() for row in rows], np.array(rows, object)):
        found = check_ids(ragged, 10, pad_id=0)
        for code in ("PS101", "PS102"):
            assert only(found, code) == {
                **only(expected, code),
                "of_ids": sum(map(len, rows)),
            }
        assert only(found, "PS103") == only(expected, "PS103")


@only_once
def test_the_end_of_a_short_row_is_no_padding() -> None:
    assert not len(check_ids([[0, 5], [5, 6, 7]], 9, pad_id=0))
    two = [np.array([5, 6]), np.array([5, 70])]  # rows, not one row and its labels
    assert only(check_ids(two, 9), "PS101")["of_rows"] == 2


@only_once
def test_more_axes_and_one() -> None:
    documents = np.ones((2, 3, 4), int)
    documents[0, 2] = 0  # an empty sentence in a document that is not
    documents[1, 1, 2] = 60
    report = check_ids(documents, 50, 0)
    assert codes(report) == ["PS101"]
    assert only(report, "PS101")["first"][0]["positions"] == [[1, 2]]
    documents[0] = 0
    assert codes(check_ids(documents, 50, 0)) == ["PS101", "PS103"]
    sequence = check_ids([3, 60], 50)
    assert only(sequence, "PS101")["first"][0]["positions"] == [1]
    assert only(sequence, "PS101")["of_rows"] == 1


@only_once
def test_ids_of_any_width() -> None:
    huge = np.array([[2**63, 3]], "uint64")
    assert only(check_ids(huge, 50), "PS101")["largest"] == 2**63
    mixed = check_ids([[2**63 + 1], [-(2**63)]], 50)
    assert only(mixed, "PS101")["largest"] == 2**63 + 1
    assert only(mixed, "PS102")["smallest"] == -(2**63)
    assert not len(check_ids(np.array([[100, -128]], "int8"), 1000, pad_id=-128))


def _parts() -> Iterator[tuple[str, Any]]:
    x, y = np.array(ROWS), np.array([0, 1, 0, 1])
    yield "x", [x]
    yield "(x,)", [(x,)]
    yield "(x, y)", [(x, y)]
    yield "(x, y, w)", [(x, y, y)]
    yield "[x, y]", iter([[x, y]])
    yield "one (x, y)", (x, y)
    yield "lists", iter([ROWS])
    yield "lists with labels", [(ROWS, [0, 1, 0, 1])]
    yield "samples", [(row, 0) for row in x]
    yield "samples of lists", [(row, 0) for row in ROWS]
    yield "rows of a list", list(x)
    yield "two and two", [x[:2], x[2:]]
    yield "one input", {"words": x}
    yield "hub", {"token_ids": x, "padding_mask": x != 0, "segment_ids": x * 0}
    yield "hub, y", [({"token_ids": x, "padding_mask": x != 0}, y)]
    yield "transformers", {"input_ids": x, "attention_mask": x != 0}
    yield "list of one input", [([x], y)]


PARTS = list(_parts())


@only_once
@pytest.mark.parametrize(("kind", "data"), PARTS, ids=[kind for kind, _ in PARTS])
def test_batches_as_fit_takes_them(kind: str, data: Any) -> None:
    report = check_ids(data, 50, 0)
    assert codes(report) == CODES, kind
    assert only(report, "PS101")["of_rows"] == 4


@only_once
def test_one_of_several_inputs() -> None:
    good, bad = np.array([[1, 2]]), np.array([[1, 99]])
    named = {"question": good, "answer": bad}
    with pytest.raises(IdError, match=r"'question', 'answer'.*input_name='question'"):
        check_ids(named, 9)
    assert not len(check_ids(named, 9, input_name="question"))
    (finding,) = check_ids([(named, bad)], 9, input_name="answer")
    assert finding.place == "input 'answer'"
    with pytest.raises(IdError, match=r"no input .other.\. There"):
        check_ids(named, 9, input_name="other")
    both = {"encoder_token_ids": good, "decoder_token_ids": bad}
    with pytest.raises(IdError, match="'encoder_token_ids', 'decoder_token_ids'"):
        check_ids(both, 9)
    listed = [([good, bad], np.array([1]))]
    with pytest.raises(IdError, match="batch 0: there are 2 inputs: 0, 1"):
        check_ids(listed, 9)
    assert codes(check_ids(listed, 9, input_name=1)) == ["PS101"]
    with pytest.raises(IdError, match="only one input, and it has no name"):
        check_ids(good, 9, input_name="words")


@only_once
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.ones((2, 2)), "batch 0, ids: expected integer ids; received float64"),
        (np.ones((2, 2), ml_dtypes.bfloat16), "bfloat16, which cannot hold every id"),
        ([[1.0, 2.0]], "received float64.*astype"),
        (np.ones((2, 2), bool), "received bool, which looks like a mask"),
        (["a text"], "received text"),
        ([["a", "text"]], "row 0: expected integer ids; received text"),
        ([[1, None]], "received object"),
        ([[2**70]], "at most 64 bits"),
        (iter([[[[1], [2, 3]], [[4]]]]), "row 0: expected integers"),
        (
            iter([[[[1], [2]], [[4], [5]]]]),
            "row 0: expected a row of ids with one axis; received one with 2",
        ),
        ("a text", "expected ids.*received str"),
        (5, "received int"),
        (np.int64(5), "received int64"),
        (None, "received NoneType"),
        ([], "no row of ids"),
        (np.ones((0, 4), int), "no row of ids"),
        (iter(()), "no row of ids.*used up"),
        ([(None, np.ones(2))], "batch 0: expected ids to be ids"),
        ({"token_ids": {"a": 1}}, "received dict"),
        ((1.0, 2.0), "float64"),
        (
            (np.ones((2, 2), int),) * 4,
            r"expected x, \(x, y\) or .* received 4 parts",
        ),
    ],
)
def test_what_is_no_ids_is_refused(data: Any, message: str) -> None:
    with pytest.raises(IdError, match=f"(?s){message}"):
        check_ids(data, 9)


@only_once
@pytest.mark.parametrize("input_dim", [0, -1, 2.5, True, "9", None])
def test_input_dim_is_a_count(input_dim: Any) -> None:
    with pytest.raises(IdError, match="input_dim: expected a positive integer"):
        check_ids([[1]], input_dim)


@only_once
@pytest.mark.parametrize("pad_id", [1.5, "0", True, [0, None], [[0]]])
def test_pad_id_is_an_id(pad_id: Any) -> None:
    with pytest.raises(IdError, match="pad_id: expected one integer or several"):
        check_ids([[1]], 9, pad_id)


@only_once
def test_a_stream_is_not_kept() -> None:
    alive: list[int] = []

    class Counted(np.ndarray):
        def __del__(self) -> None:
            alive[0] -= 1

    def batches() -> Iterator[np.ndarray]:
        for _ in range(50):
            alive[0] += 1
            assert alive[0] < 4
            yield np.ones((2, 3), int).view(Counted)

    alive.append(0)
    assert not len(check_ids(batches(), 9))
    endless = itertools.repeat(np.ones((2, 3), int))
    assert not len(check_ids(itertools.islice(endless, 3), 9))


@only_once
def test_numpy_data_needs_no_backend() -> None:
    script = (
        "import sys, numpy as np, keras_padsafe as kp\n"
        "kp.audit.check_ids([(np.ones((2, 3), int), np.ones(2))], 5, 0)\n"
        "print({'keras', 'tensorflow', 'jax', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


class Data(keras.utils.PyDataset):
    """Batches of two rows; says what it was asked for."""

    def __init__(self, count: int | None = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.count = count
        self.asked: list[Any] = []

    @property
    def num_batches(self) -> int | None:
        return self.count

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        self.asked.append(index)
        return np.array(ROWS[2 * index : 2 * index + 2]), np.zeros(2)

    def on_epoch_begin(self) -> None:
        self.asked.append("begin")

    def on_epoch_end(self) -> None:
        self.asked.append("end")


def test_py_dataset_is_read_as_one_epoch() -> None:
    data = Data(workers=2, use_multiprocessing=False)
    report = check_ids(data, 50, 0)
    assert codes(report) == CODES
    assert only(report, "PS102")["first"][0]["batch"] == 1
    assert only(report, "PS102")["first"][0]["data_row"] == 3
    assert data.asked == ["begin", 0, 1, "end"]
    with pytest.raises(IdError, match=r"PyDataset never ends.*range\(steps\)"):
        check_ids(Data(None), 50)


def test_tensors_of_the_backend() -> None:
    ids = keras.ops.convert_to_tensor(ROWS, "int32")
    assert codes(check_ids(ids, 50, 0)) == CODES
    assert codes(check_ids([(ids, ids)], 50, 0)) == CODES
    for dtype in ("float32", "bfloat16", "float16"):
        with pytest.raises(IdError, match=f"received {dtype}"):
            check_ids(keras.ops.cast(ids, dtype), 50)
    with pytest.raises(IdError, match="received bool"):
        check_ids(ids > 0, 50)
    with pytest.raises(IdError, match="KerasTensor that holds no such values"):
        check_ids(keras.Input((3,), dtype="int32"), 50)


def test_tf_data() -> None:
    if keras.backend.backend() != "tensorflow":
        pytest.skip("TensorFlow is loaded on its own lane")
    import tensorflow as tf

    x, y = tf.constant(ROWS), tf.zeros(4)
    data = tf.data.Dataset.from_tensor_slices((x, y))
    report = check_ids(data.batch(3), 50, 0)
    assert codes(report) == CODES
    (row,) = only(report, "PS102")["first"]
    assert (row["batch"], row["row"], row["data_row"]) == (1, 0, 3)
    assert codes(check_ids(data, 50, 0)) == CODES  # without batches
    named = tf.data.Dataset.from_tensor_slices({"token_ids": x, "padding_mask": x > 0})
    assert codes(check_ids(named.batch(2), 50, 0)) == CODES
    generated = tf.data.Dataset.from_generator(
        lambda: iter(ROWS), output_signature=tf.TensorSpec((4,), tf.int32)
    )
    assert codes(check_ids(generated.batch(2), 50, 0)) == CODES
    with pytest.raises(IdError, match=r"Dataset never ends.*take\(steps\)"):
        check_ids(data.repeat(), 50)
    assert codes(check_ids(data.repeat().batch(4).take(2), 50, 0)) == CODES
    ragged = tf.ragged.constant([[5, 9], [7, 50, 3, 2], [], [0, -3, 0, 1]])
    assert codes(check_ids(ragged, 50, 0)) == CODES[:4]
    assert codes(check_ids([(ragged, y)], 50, 0)) == CODES[:4]
    with pytest.raises(IdError, match=r"sparse one.*to_dense"):
        check_ids(tf.sparse.from_dense(x), 50)
    with pytest.raises(IdError, match="received text"):
        check_ids(tf.constant([["a"]]), 50)


def test_data_loader() -> None:
    if keras.backend.backend() != "torch":
        pytest.skip("PyTorch is loaded on its own lane")
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    x, y = torch.tensor(ROWS), torch.zeros(4)
    pairs = TensorDataset(x, y)
    assert codes(check_ids(DataLoader(pairs, batch_size=2), 50, 0)) == CODES
    assert codes(check_ids(DataLoader(list(x), batch_size=3), 50, 0)) == CODES
    assert codes(check_ids(pairs, 50, 0)) == CODES
    named = [{"input_ids": row, "attention_mask": row > 0} for row in x]
    assert codes(check_ids(DataLoader(named, batch_size=2), 50, 0)) == CODES
    ragged = [torch.tensor([5, 9]), torch.tensor([7, 50, 3, 2])]
    loader = DataLoader(ragged, batch_size=2, collate_fn=list)
    assert codes(check_ids(loader, 50, 0)) == ["PS101"]
