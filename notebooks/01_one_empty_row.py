# %% [markdown]
# # One empty row: how padding becomes NaN, and how it stops
# One sequence without a single real token is enough to lose every weight of a model.
# Here we watch that happen, find the layer at fault, and fix it.

# %%
import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import layers, ops

import keras_padsafe as kp
from keras_padsafe import figures

figures.set_style()
keras.utils.set_random_seed(0)
to_numpy = keras.ops.convert_to_numpy

# %% [markdown]
# ## The data
# Each sequence has 1 to 6 ids and is padded with 0. The label says whether its ids are
# high on average. One row of one batch is empty: it is all padding. This happens in
# practice: a tokenizer that drops punctuation leaves nothing of the text `"@ ."`.

# %%
VOCABULARY, TIME, BATCH, STEPS, BAD_STEP, EMPTY = 40, 6, 32, 60, 30, 3
random = np.random.default_rng(0)
lengths = random.integers(1, TIME + 1, (STEPS, BATCH))
lengths[BAD_STEP, EMPTY] = 0
real = np.arange(TIME) < lengths[..., None]
ids = np.where(real, random.integers(1, VOCABULARY, real.shape), 0)
mean_id = ids.sum(-1) / np.maximum(lengths, 1)
labels = (mean_id > VOCABULARY / 2).astype("float32")[..., None]
print(f"{STEPS} batches of {BATCH} sequences, {(lengths == 0).sum()} of them empty")
print(ids[BAD_STEP, :5])

# %% [markdown]
# ## It breaks
# This is a model as anyone would write it, with `mask_zero=True`, as the documentation
# says.


# %%
def build(attention: type, pooling: type) -> keras.Model:
    keras.utils.set_random_seed(1)
    tokens = keras.Input((None,), dtype="int32", name="ids")
    x = layers.Embedding(VOCABULARY, 16, mask_zero=True, name="embedding")(tokens)
    x = layers.Dense(16, activation="relu", name="dense")(x)
    x = attention(num_heads=2, key_dim=8, name="attention")(x, x)
    x = pooling(name="pooling")(x)
    model = keras.Model(tokens, layers.Dense(1, name="logit")(x))
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss)
    return model


def losses(model: keras.Model, first: int, last: int) -> list[float]:
    found = []
    for x, y in zip(ids[first:last], labels[first:last], strict=True):
        found.append(float(model.train_on_batch(x, y)))
        model.reset_metrics()
    return found


def share_of_nan(model: keras.Model) -> dict[str, float]:
    return {w.path: float(np.isnan(to_numpy(w)).mean()) for w in model.weights}


stock = build(layers.MultiHeadAttention, layers.GlobalAveragePooling1D)
stock_losses = losses(stock, 0, BAD_STEP)
healthy = stock.get_weights()
assert np.isfinite(stock_losses).all()

stock_losses += losses(stock, BAD_STEP, STEPS)
assert np.isnan(stock_losses[BAD_STEP:]).all()
for path, share in share_of_nan(stock).items():
    print(f"{share:4.0%} NaN in {path}")
assert all(share > 0 for share in share_of_nan(stock).values())

# %% [markdown]
# There was no error and no warning. One row of one batch was enough: every weight is
# NaN, and training just goes on.
#
# ## Seen: layer by layer
# We restore the weights from before the bad batch and run that batch through every
# layer. For each row and each time step we look whether the output is NaN. The ids tell
# which steps are real.

# %%
KINDS = (figures.REAL, figures.MASKED, figures.BROKEN)
NAMES = ["embedding", "dense", "attention", "pooling", "logit"]
shown = slice(0, 8)


def every_output(model: keras.Model, x: np.ndarray) -> dict[str, np.ndarray]:
    inner = keras.Model(model.input, [model.get_layer(n).output for n in NAMES])
    return dict(zip(NAMES, map(to_numpy, inner(x)), strict=True))


def states(output: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """0 where real and finite, 1 where masked, 2 where NaN: one column a step."""
    broken = np.isnan(output).any(-1)
    broken = broken[:, None] if broken.ndim == 1 else broken
    known = steps if broken.shape[1] > 1 else np.ones_like(broken)
    return np.where(broken, 2, np.where(known, 0, 1))


def draw(model: keras.Model, title: str, step: int = BAD_STEP) -> None:
    found = every_output(model, ids[step])
    fig, panels = plt.subplots(
        1, 5, sharey=True, figsize=(8, 2.9), width_ratios=[6, 6, 6, 2, 2]
    )
    for axes, (name, output) in zip(panels, found.items(), strict=True):
        figures.tiles(axes, states(output, real[step])[shown], KINDS)
        axes.set_title(name, loc="center", fontsize=11)
        axes.set_xticks(range(TIME) if output.ndim == 3 else [])
        if output.ndim == 3:
            axes.set_xlabel("step")
    panels[0].set_ylabel("row of the batch")
    panels[0].set_yticks(range(8))
    fig.suptitle(title, fontsize=12)
    figures.key(panels[0], KINDS)
    plt.show()


stock.set_weights(healthy)
draw(stock, "The bad batch, before its update: NaN begins in the pooling, in one row")
born = every_output(stock, ids[BAD_STEP])
assert np.isfinite(born["attention"]).all()
assert np.flatnonzero(np.isnan(born["pooling"]).any(-1)).tolist() == [EMPTY]

# %% [markdown]
# We did that by hand. `find_nonfinite` does it in one call, and says why it happens:

# %%
report = kp.audit.find_nonfinite(stock, ids[BAD_STEP], labels[BAD_STEP])
print(report)
(finding,) = report
assert (finding.code, finding.place) == ("PS501", "pooling")
assert finding.evidence["rows"] == [EMPTY]

# %% [markdown]
# `TerminateOnNaN` stops training when the loss is NaN. That is one training step too
# late: the weights are already lost.

# %%
stop = keras.callbacks.TerminateOnNaN()
stock.fit(
    ids[BAD_STEP], labels[BAD_STEP], batch_size=BATCH, callbacks=[stop], verbose=0
)
draw(stock, "After one update: NaN in every layer and every row, padding or not")
assert all(np.isnan(output).all() for output in every_output(stock, ids[0]).values())

# %% [markdown]
# ## Why
# The average of the real steps is their sum divided by their count. With no real step
# that is 0/0. The loss of the batch is a mean over rows, so one NaN makes the loss NaN.
# The gradient of shared weights is a sum over rows, so one NaN makes it NaN too.
# Multiplying by 0 does not help:

# %%
zero = np.float32(0)
with np.errstate(invalid="ignore"):
    print(f"sum / count = {zero / zero}")
print(f"0 * NaN     = {zero * np.float32('nan')}")
print(f"mean        = {np.mean([0.3, np.nan, 0.1])}")

# %% [markdown]
# ## A second birthplace: softmax over time
# The layer below should give each step a weight, so that the weights of a row sum to 1.
# It takes `exp` of the scores, multiplies by the mask and divides by the sum. Many
# people write it so, and Keras's masking guide does too. But the sum runs over the last
# axis, which holds a single score here. So each score is divided by itself: a real step
# gets 1, and a padded one 0/0.


# %%
class TemporalSoftmax(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, scores, mask=None):
        weights = ops.exp(scores) * ops.cast(ops.expand_dims(mask, -1), scores.dtype)
        return weights / ops.sum(weights, axis=-1, keepdims=True)


scores = random.normal(size=(8, TIME, 1)).astype("float32")
mask = real[BAD_STEP, shown]
before = to_numpy(TemporalSoftmax()(scores, mask=mask))[..., 0]
after = to_numpy(kp.layers.MaskedSoftmax(axis=1)(scores, mask=mask))[..., 0]
assert np.isnan(before[~mask]).all()
assert (before[mask] == 1).all()
assert (after[~mask] == 0).all()
np.testing.assert_allclose(after.sum(1), mask.any(1), atol=1e-6)

fig, panels = plt.subplots(1, 2, sharey=True, figsize=(8, 3))
for axes, weights, name in zip(
    panels,
    (before, after),
    ("exp * mask / sum", "kp.layers.MaskedSoftmax"),
    strict=True,
):
    figures.tiles(axes, np.where(np.isnan(weights), 2, np.where(mask, 0, 1)), KINDS)
    for row, column in np.argwhere(np.isfinite(weights) & mask):
        text = f"{weights[row, column]:.2f}"
        axes.text(column, row, text, ha="center", va="center", fontsize=9)
    axes.set_title(name)
    axes.set(xlabel="step", yticks=range(8))
panels[0].set_ylabel("row of the batch")
figures.key(panels[0], KINDS)
plt.show()

# %% [markdown]
# ## Wrong without a NaN: attention
# `keras.layers.Attention` subtracts a large number from masked scores. In an empty row
# it subtracts it from every score, so the padded steps share the weight among them.
# There is no NaN, but no sensible answer either.

# %%
x = random.normal(size=(2, TIME, 4)).astype("float32")
row_masks = np.array([np.arange(TIME) < 3, np.zeros(TIME, bool)])
maps = {}
for layer in (layers.Attention(), kp.layers.MaskedAttention()):
    _, weights = layer([x, x], mask=[None, row_masks], return_attention_scores=True)
    maps[type(layer).__name__] = to_numpy(weights)

fig, panels = plt.subplots(2, 2, sharex=True, sharey=True, figsize=(8, 5))
for column, (name, weights) in enumerate(maps.items()):
    for row, text in enumerate(("3 real keys", "no real key")):
        axes = panels[row, column]
        image = axes.imshow(weights[row], vmin=0, vmax=1, aspect="auto")
        hidden = np.broadcast_to(~row_masks[row], weights[row].shape)
        axes.set_title(
            f"{name}, {text}: sums to {weights[row, 0].sum():.0f}", fontsize=11
        )
        figures.hatch(axes, hidden, colour="white")
    panels[1, column].set_xlabel("key (hatched: masked)")
for axes in panels[:, 0]:
    axes.set_ylabel("query")
fig.colorbar(image, ax=panels, label="attention weight")
plt.show()
assert np.allclose(maps["Attention"][1], 1 / TIME)
assert (maps["MaskedAttention"][1] == 0).all()
np.testing.assert_allclose(maps["Attention"][0], maps["MaskedAttention"][0], atol=1e-6)

# %% [markdown]
# A weight of 0 does not keep out a NaN in the padding either, since 0 times NaN is NaN.
# Masked values must be replaced before the arithmetic, not multiplied by 0 after it.

# %%
poisoned = np.where(row_masks[..., None], x, np.nan)[:1]
for layer in (layers.Attention(), kp.layers.MaskedAttention()):
    output = to_numpy(layer([poisoned, poisoned], mask=[row_masks[:1]] * 2))
    finite = np.isfinite(output[0, :3]).all()
    print(f"{type(layer).__name__:16} real outputs finite: {finite}")
    assert finite == isinstance(layer, kp.layers.MaskedAttention)

# %% [markdown]
# ## Fixed
# This is the same model with two classes changed. They take the same arguments and have
# the same weights as the stock ones, so a trained model keeps its weights.

# %%
safe = build(kp.layers.MaskedMultiHeadAttention, kp.layers.MaskedGlobalAveragePooling1D)
safe_losses = losses(safe, 0, STEPS)
assert np.isfinite(safe_losses).all()
assert not any(share_of_nan(safe).values())
assert np.mean(safe_losses[-10:]) < np.mean(safe_losses[:10]) / 2

fig, axes = plt.subplots()
axes.plot(safe_losses, label="keras_padsafe", color=figures.BLUE, linewidth=3)
axes.plot(stock_losses, label="stock layers", color=figures.ORANGE, linestyle="--")
last = (BAD_STEP - 1, stock_losses[BAD_STEP - 1])
axes.plot(*last, "X", markersize=12, color=figures.VERMILION)
axes.annotate(
    "the next batch has the empty row:\nNaN from here on",
    last,
    xytext=(BAD_STEP + 2, 0.45),
    arrowprops={"arrowstyle": "->"},
)
axes.set(xlabel="training step", ylabel="loss", ylim=0)
axes.set_title(f"One empty row in {STEPS} batches of {BATCH}")
axes.legend()
plt.show()

# %% [markdown]
# ## Checked
# With the same weights, the old and the new model agree on every row that has a real
# step. The empty row gives zeros to the head, and more padding changes nothing.

# %%
stock.set_weights(healthy)
safe.set_weights(healthy)
draw(safe, "The bad batch, with the safe layers: no NaN")
full = real[BAD_STEP].any(-1)
ours = to_numpy(safe(ids[BAD_STEP]))
theirs = to_numpy(stock(ids[BAD_STEP]))
np.testing.assert_allclose(ours[full], theirs[full], atol=1e-5)
assert (every_output(safe, ids[BAD_STEP])["pooling"][EMPTY] == 0).all()
wider = np.pad(ids[BAD_STEP], ((0, 0), (0, 10)))
np.testing.assert_allclose(to_numpy(safe(wider)), ours, atol=1e-5)
print(f"largest change, stock to ours: {np.abs(ours - theirs)[full].max():.1e}")
print(
    f"largest change by 10 more pads: {np.abs(to_numpy(safe(wider)) - ours).max():.1e}"
)

# %% [markdown]
# ## What you can now do
# - Recognise the three causes: 0/0 in a mean or a softmax of nothing, a weight of 0
#   times a NaN, and padding that shares the weight without any NaN at all.
# - Find the layer where NaN begins: look at the outputs of every layer for the bad
#   batch, or call `kp.audit.find_nonfinite`.
# - Fix it with `MaskedGlobalAveragePooling1D`, `MaskedSoftmax` and
#   `MaskedMultiHeadAttention`, which take the weights of the stock layers.
#
# **Exercise.** Pool with `layers.GlobalMaxPooling1D` instead, and run the batch with
# the empty row again. There is no NaN. Is the answer right? Pad the ids further and
# see.
