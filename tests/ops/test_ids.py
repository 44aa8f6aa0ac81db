"""A bad id is never silent, and follows one policy on every backend."""

import keras
import numpy as np
import pytest

import keras_padsafe as kp
from keras_padsafe.ops.ids import as_ids, check_policy
from tests.compiled import compiled, in_graph

IDS = np.array([[2, 9, -1], [-7, 4, 0]], "int32")


def listed(tensor):
    return keras.ops.convert_to_numpy(tensor).tolist()


@pytest.mark.parametrize("way", [lambda f: f, in_graph, compiled])
@pytest.mark.parametrize(
    ("policy", "pad_id", "expected"),
    [
        (1, (), [[2, 1, 1], [1, 4, 0]]),
        (1, (-1,), [[2, 1, -1], [1, 4, 0]]),
        ("pad", (-1,), [[2, -1, -1], [-1, 4, 0]]),
        ("pad", (0,), [[2, 0, 0], [0, 4, 0]]),
        ("raise", (-1, -7, 9), IDS.tolist()),
    ],
)
def test_a_bad_id_follows_the_policy_eager_and_compiled(way, policy, pad_id, expected):
    settle = way(lambda ids: kp.ops.apply_out_of_range(ids, 5, policy, pad_id))
    assert listed(settle(keras.ops.convert_to_tensor(IDS))) == expected


def test_the_error_names_the_id_its_position_the_count_and_the_table():
    message = (
        r"2 of 6 ids are outside the table of 'words'\. The first is 9, at position "
        r"\(0, 1\) of ids of shape \(2, 3\)\. Expected: ids from 0 to 4, or pad ids "
        r"\(-1,\)\. Correct the ids"
    )
    with pytest.raises(ValueError, match=message):
        kp.ops.apply_out_of_range(IDS, 5, "raise", (-1,), "the table of 'words'")


def test_raising_reaches_out_of_a_compiled_function():
    settle = in_graph(lambda ids: kp.ops.apply_out_of_range(ids, 5, "raise"))
    assert listed(settle(keras.ops.convert_to_tensor([[0, 4]]))) == [[0, 4]]
    with pytest.raises(Exception, match="outside the table"):
        listed(settle(keras.ops.convert_to_tensor([[0, 5]])))


def test_where_nothing_can_be_raised_a_bad_id_comes_back_as_it_is():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("XLA takes no assertion on TensorFlow only")
    settle = compiled(lambda ids: kp.ops.apply_out_of_range(ids, 5, "raise"))
    assert listed(settle(keras.ops.convert_to_tensor([[0, 5]]))) == [[0, 5]]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30, -0.5])
def test_a_float_that_is_no_id_never_becomes_a_row(bad):
    assert listed(as_ids(np.array([bad, 3.0], "float32")))[1] == 3
    with pytest.raises(ValueError, match="outside"):
        kp.ops.apply_out_of_range(np.array([bad], "float32"), 5)


@pytest.mark.parametrize("policy", ["clip", True, 5, -1, None, 1.5])
def test_an_unknown_policy_is_refused(policy):
    with pytest.raises(ValueError, match=r"'raise', 'pad', or the id .* 0 to 4"):
        check_policy(policy, 5, ())


def test_treating_bad_ids_as_padding_needs_a_pad_id():
    with pytest.raises(ValueError, match="needs a `pad_id`"):
        check_policy("pad", 5, ())


@pytest.mark.parametrize(
    ("dtype", "huge"),
    [("int64", 2**32 + 1), ("uint32", 2**32 - 1), ("uint64", 2**32 + 1)],
)
def test_an_id_beyond_32_bits_is_not_folded_into_a_row_or_a_pad_id(dtype, huge):
    ids = np.array([huge, 1], dtype)
    settled = kp.ops.apply_out_of_range(ids, 5, policy=2, pad_id=-1)
    assert listed(settled) == [2, 1]
    assert listed(kp.ops.padding_mask(ids, (1, -1))) == [True, False]


def test_a_pad_id_beyond_32_bits_is_refused():
    with pytest.raises(
        ValueError, match=r"between -2\*\*31 and 2\*\*31.*1099511627776"
    ):
        kp.ops.padding_mask(IDS, 2**40)
