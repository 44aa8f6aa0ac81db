"""What an earlier Keras does not have is refused with a sentence."""

import inspect

import keras
import pytest

import keras_padsafe as kp
from keras_padsafe.errors import PadsafeError

LAYERS = {
    keras.layers.MultiHeadAttention: lambda **k: kp.layers.MaskedMultiHeadAttention(
        2, 3, **k
    ),
    keras.layers.GroupQueryAttention: lambda **k: kp.layers.MaskedGroupQueryAttention(
        3, 4, 2, **k
    ),
}


@pytest.mark.parametrize("stock", LAYERS)
@pytest.mark.parametrize("argument", [{"sliding_window": 2}, {"use_gate": True}])
def test_an_argument_works_or_is_refused_in_words(stock, argument, monkeypatch):
    (name,) = argument
    make = LAYERS[stock]
    known = inspect.signature(stock.__init__).parameters
    if name in known:
        assert make(**argument).get_config()[name] == argument[name]
        fewer = inspect.Signature([p for k, p in known.items() if k != name])
        monkeypatch.setattr(stock.__init__, "__signature__", fewer, raising=False)
    with pytest.raises(PadsafeError, match=f"`{name}` needs a later Keras"):
        make(**argument)


@pytest.mark.parametrize("stock", LAYERS)
def test_left_out_it_is_not_missed(stock):
    assert LAYERS[stock]()(*[keras.ops.ones((1, 2, 4))] * 2).shape == (1, 2, 4)
