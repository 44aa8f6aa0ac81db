"""One convention for masks: boolean, True is real, combined and never added."""

import keras
import numpy as np
import pytest

import keras_padsafe as kp


def listed(tensor):
    return keras.ops.convert_to_numpy(tensor).tolist()


@pytest.mark.parametrize(
    ("pad_id", "expected"),
    [
        (0, [[True, True, False, True]]),
        (9, [[True, False, True, True]]),
        (-1, [[True, True, True, False]]),
        ((0, -1), [[True, True, False, False]]),
        ((), [[True, True, True, True]]),
        (1000, [[True, True, True, True]]),
    ],
)
def test_padding_mask_knows_any_pad_id_or_several(pad_id, expected):
    assert listed(kp.ops.padding_mask([[3, 9, 0, -1]], pad_id)) == expected


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int32", "int64", "float32"])
def test_padding_mask_reads_ids_of_any_dtype(dtype):
    ids = np.array([[3, 0]], dtype)
    assert listed(kp.ops.padding_mask(ids, (0, -1))) == [[True, False]]


def test_mask_from_lengths_has_empty_and_full_rows():
    mask = kp.ops.mask_from_lengths([0, 2, 3], 3)
    assert listed(mask) == [[False] * 3, [True, True, False], [True] * 3]


def test_causal_mask_lines_up_at_the_first_key():
    for query, key in [(3, 3), (2, 4), (4, 2), (0, 3), (3, 0)]:
        expected = np.tril(np.ones((query, key), bool))
        assert listed(kp.ops.causal_mask(query, key)) == expected.tolist()


@pytest.mark.parametrize("window", [1, 2, 5])
def test_sliding_window_mask_sees_less_than_window_away(window):
    mask = listed(kp.ops.sliding_window_mask(4, 6, window))
    expected = [[abs(q - k) < window for k in range(6)] for q in range(4)]
    assert mask == expected


def test_segment_mask_keeps_packed_sequences_apart():
    mask = listed(kp.ops.segment_mask([[1, 2]], [[1, 1, 2]]))
    assert mask == [[[True, True, False], [False, False, True]]]


def test_combine_masks_broadcasts_any_ranks():
    padding = np.array([True, False])[None, None, None, :]  # (1, 1, 1, key)
    heads = np.ones((1, 3, 1, 1), bool)
    causal = np.tril(np.ones((2, 2), bool))
    mask = kp.ops.combine_masks(padding, None, heads, causal)
    expected = np.broadcast_to(padding & heads & causal, (1, 3, 2, 2))
    np.testing.assert_array_equal(listed(mask), expected)


def test_combine_masks_of_nothing_is_nothing():
    assert kp.ops.combine_masks() is None
    assert kp.ops.combine_masks(None, None) is None


def test_combine_masks_names_both_shapes():
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(2, 4\).*mask\[:, None, :\]"):
        kp.ops.combine_masks(np.ones((2, 3), bool), np.ones((2, 4), bool))


def test_combine_masks_takes_symbolic_masks():
    mask = keras.Input((3,), dtype="bool")
    assert kp.ops.combine_masks(mask, np.ones((1, 3), bool)).shape == (None, 3)


@pytest.mark.parametrize("dtype", ["bool", "int32", "int64", "uint8"])
def test_masks_are_booleans_or_integers(dtype):
    mask = kp.ops.as_bool_mask(np.array([1, 0], dtype), "query_mask")
    assert listed(mask) == [True, False]


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_masks_of_floats_are_refused_by_name(dtype):
    additive = np.array([[0, -1e4]], dtype)
    with pytest.raises(ValueError, match=rf"`query_mask`.*{dtype}, shape \(1, 2\)"):
        kp.ops.as_bool_mask(additive, "query_mask")
