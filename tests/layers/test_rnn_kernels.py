"""On PyTorch, masked recurrent layers in `RealTokens` run by kernels, and agree."""

import threading
import warnings
from typing import Any

import keras
import numpy as np
import pytest

import keras_padsafe as kp
from keras_padsafe.layers import rnn_kernels as module
from keras_padsafe.layers.rnn_kernels import rnn_kernels
from keras_padsafe.ops import real_tokens

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="other backends compile the steps"
)
BATCH, TIME, DIM, UNITS = 5, 7, 3, 4
MASKS = {
    "on the right": np.arange(TIME) < np.array([7, 3, 1, 5, 0])[:, None],
    "on the left": np.arange(TIME) >= np.array([0, 3, 6, 2, 7])[:, None],
    "anywhere": np.random.default_rng(1).random((BATCH, TIME)) < 0.5,
}
CLASSES = keras.layers.LSTM, keras.layers.GRU, keras.layers.SimpleRNN


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each call of a kernel."""
    seen: list[int] = []
    inner = module.on_real_steps

    def spy(*given: Any) -> Any:
        seen.append(1)
        return inner(*given)

    monkeypatch.setattr(module, "on_real_steps", spy)
    monkeypatch.setattr(real_tokens, "_NUMBERS", 1)
    return seen


def answer_and_gradients(layer: Any, mask: np.ndarray) -> list[np.ndarray]:
    import torch

    x = np.random.default_rng(0).normal(size=(BATCH, TIME, DIM)).astype("float32")
    given = torch.tensor(x, requires_grad=True)
    y = layer(given, mask=torch.tensor(mask))
    layer.zero_grad()
    (y * torch.arange(y.numel()).reshape(y.shape) / 50).sum().backward()
    moved = [given, *(v.value for v in layer.trainable_variables)]
    return [y.detach().numpy(), *(x.grad.numpy() for x in moved)]


def assert_kernels_agree(layer: Any, mask: np.ndarray, ran: list[int]) -> None:
    layer.build((None, TIME, DIM))
    expected = answer_and_gradients(layer, mask)
    assert not ran
    with rnn_kernels(layer):
        found = answer_and_gradients(layer, mask)
    assert ran
    for mine, keras_own in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, keras_own, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("sequences", [False, True])
def test_a_kernel_gives_what_the_steps_of_keras_give(
    cls: Any, mask: str, back: bool, sequences: bool, ran: list[int]
) -> None:
    layer = cls(
        UNITS,
        return_sequences=sequences,
        go_backwards=back,
        bias_initializer="random_normal",
        zero_output_for_mask=sequences and back,
    )
    assert_kernels_agree(layer, MASKS[mask], ran)


@pytest.mark.parametrize("cls", CLASSES)
def test_both_directions_run_by_kernels(cls: Any, ran: list[int]) -> None:
    layer = keras.layers.Bidirectional(cls(UNITS, return_sequences=True))
    assert_kernels_agree(layer, MASKS["on the right"], ran)
    assert len(ran) == 2


def test_real_tokens_uses_a_kernel_and_leaves_the_layer_as_it_was(
    ran: list[int],
) -> None:
    layer = keras.layers.LSTM(UNITS)
    x = keras.ops.ones((BATCH, TIME, DIM))
    mask = keras.ops.convert_to_tensor(MASKS["on the right"])
    found = kp.layers.RealTokens(layer)(x, mask=mask)
    assert len(ran) == 1
    np.testing.assert_allclose(found.detach(), layer(x, mask=mask).detach(), atol=1e-6)
    assert len(ran) == 1
    assert "inner_loop" not in vars(layer)


class _OwnLSTM(keras.layers.LSTM):
    """Who knows what it does."""


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.LSTM(UNITS, dropout=0.1),
        keras.layers.LSTM(UNITS, recurrent_dropout=0.1),
        keras.layers.LSTM(UNITS, stateful=True),
        keras.layers.LSTM(UNITS, activation="relu"),
        keras.layers.LSTM(UNITS, recurrent_activation="hard_sigmoid"),
        keras.layers.GRU(UNITS, reset_after=False),
        keras.layers.LSTM(UNITS, dtype="float64"),
        _OwnLSTM(UNITS),
    ],
)
def test_what_no_kernel_does_alike_runs_as_ever(layer: Any, ran: list[int]) -> None:
    x = keras.ops.ones((BATCH, TIME, DIM), layer.compute_dtype)
    with rnn_kernels(layer):
        layer(x, mask=keras.ops.convert_to_tensor(MASKS["on the right"]))
    assert not ran


def test_padding_that_is_not_to_be_skipped_is_not(ran: list[int]) -> None:
    layer = keras.layers.LSTM(UNITS)
    x = keras.ops.ones((BATCH, TIME, DIM))
    mask = keras.ops.convert_to_tensor(MASKS["on the right"])
    with kp.ops.follow_real_tokens(False):
        kp.layers.RealTokens(layer)(x, mask=mask)
    assert not ran


def test_real_tokens_in_real_tokens_leaves_the_layer_as_it_was(ran: list[int]) -> None:
    layer = keras.layers.LSTM(UNITS)
    x = keras.ops.ones((BATCH, TIME, DIM))
    mask = keras.ops.convert_to_tensor(MASKS["on the right"])
    kp.layers.RealTokens(kp.layers.RealTokens(layer))(x, mask=mask)
    assert ran
    assert "inner_loop" not in vars(layer)


def test_calls_in_threads_do_not_take_the_kernel_from_one_another(
    ran: list[int],
) -> None:
    layer = keras.layers.LSTM(UNITS)
    layer.build((None, TIME, DIM))
    inside, leave = threading.Event(), threading.Event()

    def stay() -> None:
        with rnn_kernels(layer):
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=stay)
    thread.start()
    inside.wait(10)
    with rnn_kernels(layer):
        leave.set()
        thread.join()
        layer(
            keras.ops.ones((BATCH, TIME, DIM)),
            mask=keras.ops.convert_to_tensor(MASKS["anywhere"]),
        )
    assert ran
    assert "inner_loop" not in vars(layer)


def test_a_loop_that_the_user_set_stays(ran: list[int]) -> None:
    layer = keras.layers.LSTM(UNITS)
    own = layer.inner_loop
    object.__setattr__(layer, "inner_loop", own)
    with rnn_kernels(layer):
        assert vars(layer)["inner_loop"] is own
    assert vars(layer)["inner_loop"] is own


def test_a_cast_by_pytorch_runs_the_steps_of_keras(ran: list[int]) -> None:
    import torch

    layer = keras.layers.LSTM(UNITS)
    x = keras.ops.ones((BATCH, TIME, DIM))
    with rnn_kernels(layer), torch.autocast("cpu", dtype=torch.float16):
        layer(x, mask=keras.ops.convert_to_tensor(MASKS["anywhere"]))
    assert not ran


@pytest.mark.parametrize("cls", CLASSES)
def test_real_tokens_can_be_traced(cls: Any) -> None:
    import torch

    layer = kp.layers.RealTokens(cls(UNITS))
    x, mask = torch.ones(BATCH, TIME, DIM), torch.tensor(MASKS["on the right"])
    expected = layer(x, mask=mask).detach()

    class Masked(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: Any, mask: Any) -> Any:
            return self.layer(x, mask=mask)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of what a trace makes constant.
        traced = torch.jit.trace(Masked(), (x, mask), check_trace=False)  # type: ignore[attr-defined]
    np.testing.assert_allclose(traced(x, mask).detach(), expected, atol=1e-6)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated")
def test_derivatives_forward_take_the_steps_of_keras(ran: list[int]) -> None:
    import torch
    from torch.autograd import forward_ad

    layer = keras.layers.LSTM(UNITS)
    x = torch.ones(BATCH, TIME, DIM)
    with forward_ad.dual_level(), rnn_kernels(layer):
        y = layer(
            forward_ad.make_dual(x, torch.ones_like(x)),
            mask=torch.tensor(MASKS["on the right"]),
        )
        assert forward_ad.unpack_dual(y).tangent is not None
    assert not ran
