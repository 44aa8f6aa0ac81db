"""`find_nonfinite` names the layer, the rows and the cause, and leaves the model be."""

import random
from contextlib import nullcontext
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import keras_padsafe as kp
from keras_padsafe.audit import check_padding, find_nonfinite, trace_masks
from keras_padsafe.backends import operations
from keras_padsafe.errors import AuditError, PadsafeError
from tests.audit.faults import EMPTY, FAULTS, IDS, STEPS, Calls, Fault, embedding
from tests.audit.healthy import HEALTHY
from tests.audit.more_faults import ROWS, with_row

pytestmark = [
    pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask"),
    # What the planted faults make TensorFlow's NumPy say.
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]


def audited(made: tuple[Any, ...], **options: Any) -> Any:
    model, x, y, loss, weight = (*made, None, None, None)[:5]
    return find_nonfinite(model, x, y, loss, sample_weight=weight, **options)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_planted_fault_is_named(fault: Fault) -> None:
    report = audited(fault.make(), training=fault.training)
    first = report.findings[0]
    assert (first.code, first.place) == (fault.code, fault.place), str(first)
    if fault.rows is not None:
        assert first.evidence["rows"] == fault.rows
    assert not report.passed
    assert first.place in str(first)


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_model_gives_no_finding(name: str) -> None:
    made = HEALTHY[name]()
    for training in (False, True):
        report = audited(made, training=training)
        assert report.passed, str(report)
        assert not report.findings, str(report)


def test_the_model_stays_as_it_was() -> None:
    model = keras.Sequential(
        [
            embedding(),
            layers.LSTM(4, return_sequences=True, dropout=0.5),
            layers.BatchNormalization(),
            layers.Dropout(0.5, seed=1),
            layers.GlobalAveragePooling1D(),
            layers.Dense(1),
        ]
    )
    model.compile("adam", "mse", metrics=["mae"])
    y = np.ones((3, 1), "float32")
    model.fit(IDS, y, verbose=0)
    functions = model.train_function, model.predict_function
    every = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
    before = [np.array(keras.ops.convert_to_numpy(v.value)) for v in every]
    states = random.getstate(), np.random.get_state()[1].tolist()
    policies = [layer.dtype_policy.name for layer in model.layers]

    assert find_nonfinite(model, EMPTY, y, training=True).findings
    assert find_nonfinite(model, IDS, y, training=True).passed

    after = [keras.ops.convert_to_numpy(v.value) for v in every]
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, new)
    assert functions == (model.train_function, model.predict_function)
    assert states == (random.getstate(), np.random.get_state()[1].tolist())
    assert policies == [layer.dtype_policy.name for layer in model.layers]
    assert not any(getattr(layer, "unroll", False) for layer in model.layers)
    model.fit(IDS, y, verbose=0)


def test_keras_is_whole_again_after_an_error() -> None:
    def fails(x: Any) -> Any:
        raise ZeroDivisionError("of the model itself")

    call = layers.Layer.__call__, keras.Operation.__call__
    model = keras.Sequential([keras.Input((6,)), layers.Dense(2)])
    model.add(layers.Lambda(lambda x: x))
    model.layers[-1].function = fails
    with pytest.raises(ZeroDivisionError):
        find_nonfinite(model, np.ones((2, 6), "float32"))
    assert call == (layers.Layer.__call__, keras.Operation.__call__)


def test_findings_spell_the_rows() -> None:
    pool = layers.GlobalAveragePooling1D(name="pool")
    model = keras.Sequential([embedding(), pool])
    ids = np.array([[5, 3, 0, 0], [0, 0, 0, 0]])
    words = {0: "", 3: "cat", 5: "black"}
    (finding,) = find_nonfinite(model, ids, vocabulary=words)
    assert finding.evidence["text"] == [""]
    x = np.array([[5, 3, 0, 0]] * 2)
    table = keras.Sequential([keras.Input((4,), dtype="int32"), embedding()])
    spoilt = table.get_weights()[0]
    spoilt[3] = np.nan
    table.set_weights([spoilt])
    (finding,) = find_nonfinite(table, x, vocabulary=words)
    assert finding.evidence["words"] == ["cat", "cat"]
    assert finding.evidence["positions"] == [[0, 1], [1, 1]]
    assert finding.evidence["text"] == ["black cat", "black cat"]


def test_padded_and_real_positions_are_told_apart() -> None:
    table = keras.Sequential([keras.Input((4,), dtype="int32"), embedding()])
    spoilt = table.get_weights()[0]
    spoilt[0] = np.nan
    table.set_weights([spoilt])
    (finding,) = find_nonfinite(table, IDS)
    assert finding.evidence["padded_positions"] == int((IDS == 0).sum())
    assert finding.evidence["real_positions"] == 0
    assert "padded positions only" in finding.message


def test_the_step_of_a_recurrent_layer_is_named() -> None:
    class Cell(layers.Layer):
        state_size = output_size = 6

        def call(self, x: Any, states: Any) -> Any:
            state = states[0] + 1.0
            return x / keras.ops.where(state == 3.0, 0.0, 1.0), [state]

    model = keras.Sequential([layers.RNN(Cell(name="cell"), True, name="rnn")])
    (finding,) = find_nonfinite(model, np.abs(STEPS))
    assert (finding.place, finding.evidence["step"]) == ("rnn/cell", 2)


def test_the_rows_of_all_steps_are_named_once() -> None:
    class Cell(layers.Layer):
        state_size = output_size = 6

        def call(self, x: Any, states: Any) -> Any:
            return 1 / x, states

    x = np.abs(STEPS) + 0.1
    x[2, 1] = x[0, 3] = 0
    model = keras.Sequential([layers.RNN(Cell(name="cell"), True, name="rnn")])
    (finding,) = find_nonfinite(model, x)
    assert finding.evidence["rows"] == [0, 2]
    assert finding.evidence["row_count"] == 2
    assert "rows 0, 2" in finding.message


def test_zeros_put_in_for_a_fault_are_no_fault() -> None:
    def share(x: Any) -> Any:
        return x / keras.ops.sum(x, -1, keepdims=True)

    parts = [Calls(share, name=name) for name in ("first", "second")]
    (finding,) = find_nonfinite(keras.Sequential(parts), with_row(1, 0))
    assert finding.place == "first"


def test_a_label_of_no_class_hides_no_other_fault() -> None:
    unsafe = Calls(lambda x: keras.ops.where(x > 0, keras.ops.log(x), 0.0), name="log")
    first = layers.Dense(4, kernel_initializer="identity")
    model = keras.Sequential([first, unsafe, layers.Dense(2)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    report = find_nonfinite(model, with_row(1, 0), np.array([0, 2, 1]), loss)
    assert [(f.code, f.place) for f in report] == [
        ("PS502", "targets"),
        ("PS507", "log"),
    ]
    log = keras.Sequential([Calls(keras.ops.log, name="log"), layers.Dense(2)])
    report = find_nonfinite(log, with_row(1, 0), np.array([0, 2, 1]), loss)
    assert [(f.code, f.place) for f in report] == [
        ("PS508", "log"),
        ("PS502", "targets"),
    ]


def test_the_operation_that_made_it_is_named() -> None:
    division = Calls(lambda x: x / keras.ops.sum(x, -1, keepdims=True))
    (finding,) = find_nonfinite(keras.Sequential([division]), with_row(1, 0))
    assert "div" in finding.evidence["operation"].lower()


def test_the_path_names_a_model_inside_a_wrapper() -> None:
    inner = keras.Sequential(
        [keras.Input((4,)), Calls(keras.ops.log, name="log")], name="inner"
    )
    model = keras.Sequential([layers.TimeDistributed(inner, name="each")])
    (finding,) = find_nonfinite(model, with_row(1, 0)[:, None])
    assert finding.place == "each/inner/log"


def test_policies_by_path_stay_as_they_are() -> None:
    policies = keras.dtype_policies.DTypePolicyMap()
    policies["exp"] = keras.DTypePolicy("float16")
    exp = layers.Activation("exponential", name="exp", dtype=policies)
    model = keras.Sequential([keras.Input((4,)), exp])
    assert find_nonfinite(model, ROWS * 1000).findings
    assert list(policies) == ["exp"]


def test_every_cause_is_found_when_there_are_two() -> None:
    pool = layers.GlobalAveragePooling1D(name="pool")
    log = Calls(lambda x: keras.ops.log(x * 0), name="log")
    report = find_nonfinite(keras.Sequential([embedding(), pool, log]), EMPTY)
    assert [f.place for f in report] == ["pool", "log"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((["a", "b"],), "x holds no numbers"),
        ((STEPS, np.ones((3, 1))), "is not compiled"),
        ((STEPS, None, "mse"), "no targets"),
        ((None,), "x: expected one batch"),
        (([[1, 2], [3]],), "rows of different lengths"),
        ((iter([STEPS]),), "a data set batch by batch"),
        ((STEPS[:0],), "without rows"),
        (([1, "a"],), "a mixture of numbers and text"),
        (({"a": 1},), "received one int"),
        ((STEPS, [[1], [1, 2], [3]], "mse"), "y: .* rows of different lengths"),
        ((STEPS, np.ones((2, 1)), "mse"), "y: expected as many rows as x has, 3"),
        ((STEPS, np.ones((3, 1)), "no loss"), "loss: expected a Keras loss"),
    ],
)
def test_bad_arguments_are_explained(arguments: Any, message: str) -> None:
    with pytest.raises(AuditError, match=message):
        find_nonfinite(keras.Sequential([layers.LSTM(2)]), *arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"training": 1}, "training: expected True or False; received 1"),
        ({"vocabulary": "words"}, "vocabulary: expected a list of words"),
        ({"sample_weight": [[1], [1, 2]]}, "sample_weight: .* different lengths"),
    ],
)
def test_bad_options_are_explained(options: Any, message: str) -> None:
    with pytest.raises(AuditError, match=message):
        find_nonfinite(keras.Sequential([layers.LSTM(2)]), STEPS, **options)


@pytest.mark.parametrize("audit", [find_nonfinite, check_padding, trace_masks])
def test_what_is_no_model_or_no_batch_is_said(audit: Any) -> None:
    with pytest.raises(PadsafeError, match="model: expected a Keras model or layer"):
        audit("model.keras", STEPS)
    for batch in ("batch.npz", 5, np.array(5.0), [None], {}):
        with pytest.raises(PadsafeError, match=r"(x|batch): expected one batch"):
            audit(keras.Sequential([layers.LSTM(2)]), batch)


@pytest.mark.parametrize("pad_id", [np.array(0), [[0, 1], [2]], "0", True])
def test_what_is_no_pad_id_is_said(pad_id: Any) -> None:
    with pytest.raises(AuditError, match="pad_id: expected a number, several"):
        check_padding(keras.Sequential([layers.LSTM(2)]), STEPS, pad_id)


@pytest.mark.parametrize(
    ("function", "code"),
    [
        (lambda x: keras.ops.exp(x * 1e3), "PS503"),
        (lambda x: 1 / (x - x), "PS508"),
        (lambda x: keras.ops.sqrt(-x), "PS510"),
    ],
    ids=["too large", "division", "root"],
)
def test_causes_are_told_where_single_operations_are_not_seen(
    function: Any, code: str, monkeypatch: Any
) -> None:
    """The hooks of the backends are not public; experiments tell the same."""
    nothing = {name: lambda seen: nullcontext() for name in operations._WATCHES}
    monkeypatch.setattr(operations, "_WATCHES", nothing)
    model = keras.Sequential([Calls(function, name="part")])
    (finding,) = find_nonfinite(model, ROWS)
    assert (finding.code, finding.place) == (code, "part")


def test_gradients_that_cannot_be_computed_are_no_pass() -> None:
    def fails(*arguments: Any) -> Any:
        raise ValueError("no derivative is known")

    model = keras.Sequential([layers.Dense(1)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("keras_padsafe.audit.nonfinite.backward.gradients", fails)
        report = find_nonfinite(model, ROWS)
    assert not report.findings
    assert not report.passed
    assert "no derivative is known" in str(report)


def test_an_answer_without_floats_shows_no_nan() -> None:
    first = Calls(keras.ops.log, name="first")
    best = Calls(lambda x: keras.ops.argmax(x, -1), name="best")
    report = find_nonfinite(keras.Sequential([first, best]), with_row(1, 0))
    assert not report.passed
    assert "'first'" in report.not_looked_at[0]


def test_the_report_is_plain_data() -> None:
    import json

    pool = layers.GlobalAveragePooling1D(name="pool")
    report = kp.audit.find_nonfinite(keras.Sequential([embedding(), pool]), EMPTY)
    document = json.loads(json.dumps(report.to_json()))
    assert document["findings"][0]["evidence"]["rows"] == [1]
    assert not document["passed"]


class Function(layers.Layer):
    """Any function as a layer."""

    def __init__(self, function: Any, **options: Any) -> None:
        super().__init__(**options)
        self.function = function

    def call(self, x: Any) -> Any:
        return self.function(x)


def _hidden(x: Any) -> Any:
    return keras.ops.where(x > 0, x, -np.inf)


def _overflows(x: Any) -> Any:
    return keras.ops.exp(keras.ops.abs(x) * 1000)


def test_a_meant_infinity_hides_no_other() -> None:
    x = np.random.default_rng(0).normal(size=(4, 6)).astype("float32")
    x[:, 0] = 1
    given = keras.Input((6,))
    hidden = Function(_hidden, name="hidden")(given)
    assert not find_nonfinite(keras.Model(given, hidden), x)
    over = Function(_overflows, name="over")(given)
    (finding,) = find_nonfinite(keras.Model(given, [hidden, over]), x)
    assert (finding.code, finding.place) == ("PS503", "over")


def test_rows_of_nothing_but_infinities_are_never_meant() -> None:
    given = keras.Input((6,))
    lost = Function(lambda x: x * np.float32(np.inf), name="lost")(given)
    (finding,) = find_nonfinite(keras.Model(given, lost), np.ones((2, 6), "float32"))
    assert finding.place == "lost"


def test_an_overflow_in_a_recurrent_layer_is_not_meant() -> None:
    three = keras.initializers.Constant(3.0)
    model = keras.Sequential(
        [
            layers.SimpleRNN(
                4,
                activation="relu",
                kernel_initializer=three,
                recurrent_initializer=three,
                name="rnn",
            )
        ]
    )
    (finding,) = find_nonfinite(model, np.ones((2, 60, 3), "float32"))
    assert (finding.code, finding.place) == ("PS503", "rnn/simple_rnn_cell")


@pytest.mark.parametrize("as_what", [list, dict])
def test_of_several_inputs_the_one_that_holds_the_value_is_named(as_what: Any) -> None:
    age, income = keras.Input((2,), name="age"), keras.Input((3,), name="income")
    given = [age, income] if as_what is list else {"age": age, "income": income}
    model = keras.Model(given, layers.Dense(1)(layers.Concatenate()([age, income])))
    arrays = [np.ones((4, 2), "float32"), np.ones((4, 3), "float32")]
    arrays[1][2, 1] = np.nan
    x = arrays if as_what is list else dict(zip(("age", "income"), arrays, strict=True))
    (finding,) = find_nonfinite(model, x)
    assert (finding.code, finding.place) == ("PS504", "input")
    assert finding.evidence["inputs"] == ["income"]
    assert "in income" in finding.message
