# %% [markdown]
# # What the mask sees: from ids to the loss
# We follow a mask from where it is made to what it does to a softmax, its gradient and
# a loss. Then we try the usual ways to apply it, and see which of them work in which
# dtype.

# %%
import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
import matplotlib.pyplot as plt
import numpy as np
import sympy as sp
from keras import layers, ops

import keras_padsafe as kp
from keras_padsafe import figures
from keras_padsafe.unicode_names import read_unicode_names

figures.set_style()
keras.utils.set_random_seed(0)

# %% [markdown]
# ## From words to ids to a mask
# Our texts are the names of Unicode characters, which come with Python. They have very
# different lengths. Each word gets an id, from 1 on, and 0 fills the rest of the row.
# The mask is True where the id is not 0.

# %%
names, _ = read_unicode_names()
words = list(dict.fromkeys(word for name in names for word in name.text.split()))
index = {word: number for number, word in enumerate(words, start=1)}


def to_ids(texts: list[str], width: int) -> np.ndarray:
    ids = np.zeros((len(texts), width), "int32")
    for row, text in enumerate(texts):
        found = [index[word] for word in text.split()]
        ids[row, : len(found)] = found
    return ids


lengths = np.array([len(name.text.split()) for name in names])
texts = [names[int(np.flatnonzero(lengths == n)[0])].text for n in range(1, 9)]
ids = to_ids(texts, 8)
mask = np.asarray(ops.convert_to_numpy(kp.ops.padding_mask(ids, pad_id=0)))
assert (mask == (ids != 0)).all()

fig, axes = plt.subplots(figsize=(8, 4))
kinds = (figures.Kind("a word and its id", figures.SKY), figures.MASKED)
figures.tiles(axes, np.where(mask, 0, 1), kinds)
for row, text in enumerate(texts):
    for column, word in enumerate(text.split()):
        label = f"{word[:13]}\n{index[word]}"
        axes.text(column, row, label, ha="center", va="center", fontsize=7.5)
axes.set(xlabel="step", ylabel="row of the batch")
axes.set_title(f"{mask.size} tiles, {1 - mask.mean():.0%} of them padding")
figures.key(axes, kinds)
plt.show()

# %% [markdown]
# ## A softmax with one score masked, by hand
# There are two real scores, `a` and `b`, and a masked one that is replaced by a fill
# value `f`. The softmax $p$ has the Jacobian $\operatorname{diag}(p) - p\,p^\top$. We
# check this with sympy, which differentiates the softmax itself.

# %%
a, b, f = sp.symbols("a b f", real=True)
scores = sp.Matrix([a, b, f])
weights = scores.applyfunc(sp.exp) / sum(sp.exp(score) for score in scores)
jacobian = sp.diag(*weights) - weights * weights.T
assert sp.simplify(weights.jacobian(scores) - jacobian) == sp.zeros(3)
weights.T

# %% [markdown]
# As `f` goes to $-\infty$, the last row and the last column become zero: the padding
# takes no weight, and no gradient passes to it or from it. What is left is the softmax
# of the two real scores.

# %%
limit = jacobian.applyfunc(lambda entry: sp.simplify(sp.limit(entry, f, -sp.oo)))
two = sp.Matrix([sp.exp(a), sp.exp(b)]) / (sp.exp(a) + sp.exp(b))
assert sp.simplify(limit[:2, :2] - two.jacobian([a, b])) == sp.zeros(2)
assert limit[2, :] == sp.zeros(1, 3)
assert limit[:, 2] == sp.zeros(3, 1)
limit

# %% [markdown]
# With a fill of 0, padding is a word like any other, and how much weight it takes
# depends on the real scores. No finite fill is low enough for all scores:

# %%
padding_weight = sp.lambdify((a, b, f), weights[2])
fills = np.linspace(-60, 0, 121)
fig, axes = plt.subplots(figsize=(8, 3))
for level in (0, -20, -40):
    axes.semilogy(fills, padding_weight(level, level, fills), label=f"a = b = {level}")
axes.axhline(2.0**-24, color=figures.GREY, linestyle=":", linewidth=1)
axes.text(-15, 2.0**-25, "smallest float16 above 0", va="top", fontsize=9)
axes.set(xlabel="fill f", ylabel="weight of the padding", ylim=(1e-27, 10))
share = padding_weight(0, 0, 0)
axes.set_title(f"Beside two scores of 0, one pad filled with 0 takes {share:.2f}")
axes.legend(title="real scores")
plt.show()
assert padding_weight(-40, -40, 0) > 0.99

# %% [markdown]
# ## Nothing real: 0/0
# If all three scores are masked, every finite fill gives each a third of the weight,
# and so does the limit. Padding then gets weight, and a gradient too. With a fill of
# $-\infty$ itself, the softmax is 0/0.

# %%
empty = weights.subs({a: f, b: f}).applyfunc(sp.simplify)
unit = sp.exp(-sp.oo)
assert list(empty) == [sp.Rational(1, 3)] * 3
assert unit / (unit + unit + unit) is sp.nan
print("finite fill:", list(empty), " infinite fill:", unit / (unit + unit + unit))
jacobian.subs({a: f, b: f}).applyfunc(sp.simplify)

# %% [markdown]
# So we *define* it: where nothing is real, every weight is 0, and so is the Jacobian. A
# final `where(any real, softmax, 0)` gives these weights, but not always this gradient.
# On the way back, 0 is multiplied by the NaN that the `where` has hidden, and the
# result is NaN.
#
# ## Seven ways in every dtype
# Here are the usual ways to mask a softmax, tried on this backend: on a row with two
# real scores, on a row with none, and on the gradient of that row. A masked score may
# be any number, since nothing trained it. Here one of them is large.


# %%
def number(value: float, like):
    return ops.cast(ops.convert_to_tensor(np.float32(value)), like.dtype)


def scaled(x, mask):
    return ops.softmax(x * ops.cast(mask, x.dtype))


def added(x, mask, fill: float):
    return ops.softmax(x + (1 - ops.cast(mask, x.dtype)) * number(fill, x))


def filled(x, mask, fill: float):
    return ops.softmax(ops.where(mask, x, number(fill, x)))


def hidden_at_the_end(x, mask):
    bias = ops.where(mask, number(0, x), number(-np.inf, x))
    some = ops.any(mask, axis=-1, keepdims=True)
    return ops.where(some, ops.softmax(x + bias), number(0, x))


WAYS = {
    "x * mask": scaled,
    "x + (1 - mask) * -1e4": lambda x, m: added(x, m, -1e4),
    "x + (1 - mask) * -1e9": lambda x, m: added(x, m, -1e9),
    "where(mask, x, -1e9)": lambda x, m: filled(x, m, -1e9),
    "where(mask, x, -inf)": lambda x, m: filled(x, m, -np.inf),
    "x + (0 or -inf), then where": hidden_at_the_end,
    "kp.ops.masked_softmax": kp.ops.masked_softmax,
}


def gradient(function, x):
    """The gradient of the sum: the only lines that know the backend."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.grad(lambda v: ops.sum(function(v)))(x)
    if keras.backend.backend() == "torch":
        x = x.detach().clone().requires_grad_()
        ops.sum(function(x)).backward()
        return x.grad
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(x)
        total = ops.sum(function(x))
    return tape.gradient(total, x)


# %%
KINDS = (
    figures.Kind("padding gets exactly 0", figures.SKY),
    figures.Kind("padding takes part", figures.YELLOW, "..."),
    figures.BROKEN,
)
values = np.array([[0.0, 1.0, 2e4, 5.0]], "float32")
times = np.array([[1.0, 2.0, 3.0, 4.0]], "float32")
some = np.array([[True, True, False, False]])
none = np.zeros_like(some)


def state(found, hidden: np.ndarray) -> int:
    found = np.asarray(ops.convert_to_numpy(ops.cast(found, "float32")))
    return 2 if np.isnan(found).any() else int((found[hidden] != 0).any())


def try_out(way, dtype: str) -> list[int]:
    x, weighted = (ops.cast(ops.convert_to_tensor(v), dtype) for v in (values, times))
    real, nothing = (ops.convert_to_tensor(mask) for mask in (some, none))
    slope = gradient(lambda v: way(v, nothing) * weighted, x)
    row, empty = way(x, real), way(x, nothing)
    return [state(row, ~some), state(empty, ~none), state(slope, ~none)]


dtypes = ["float16", "bfloat16", "float32", "float64"]
if keras.backend.backend() == "jax":
    dtypes.remove("float64")  # switched off unless the process asks for it
grid = np.array([[try_out(way, dtype) for dtype in dtypes] for way in WAYS.values()])

fig, panels = plt.subplots(1, 3, sharey=True, figsize=(8, 3.8))
titles = ("two real scores", "nothing real", "its gradient")
for case, (axes, title) in enumerate(zip(panels, titles, strict=True)):
    figures.tiles(axes, grid[..., case], KINDS)
    axes.set_title(title, loc="center", fontsize=11)
    labels = [dtype.replace("float", "float\n") for dtype in dtypes]
    axes.set_xticks(range(len(dtypes)), labels, fontsize=9)
panels[0].set_yticks(range(len(WAYS)), WAYS, fontsize=10)
fig.suptitle(f"Ways to mask a softmax, on {keras.backend.backend()}", fontsize=12)
figures.key(panels[0], KINDS)
plt.show()
clean = [name for name, row in zip(WAYS, grid, strict=True) if (row == 0).all()]
print("clean everywhere:", *clean)
assert clean == ["kp.ops.masked_softmax"]

# %% [markdown]
# ## Padding must never change an answer
# We pad one name to 8, 16 and 32 steps and run it through two encoders with the same
# weights. Each has an embedding, attention, a residual connection and pooling. In the
# stock one, the operator `+` silently drops the mask, and the pooling averages the
# padding too.


# %%
def encoder(embedding, attention, add, pooling) -> keras.Model:
    keras.utils.set_random_seed(1)
    tokens = keras.Input((None,), dtype="int32")
    x = embedding(tokens)
    x = add([x, attention(num_heads=2, key_dim=8)(x, x)])
    return keras.Model(tokens, pooling()(x))


SIZE = len(index) + 1
models = {
    "stock layers": encoder(
        layers.Embedding(SIZE, 16, mask_zero=True),
        layers.MultiHeadAttention,
        lambda pair: pair[0] + pair[1],
        layers.GlobalAveragePooling1D,
    ),
    "keras_padsafe": encoder(
        layers.Embedding(SIZE, 16, mask_zero=True),
        kp.layers.MaskedMultiHeadAttention,
        kp.layers.MaskedAdd(),
        kp.layers.MaskedGlobalAveragePooling1D,
    ),
}
models["keras_padsafe"].set_weights(models["stock layers"].get_weights())
text = texts[2]
moved = {}
fig, panels = plt.subplots(1, 2, sharey=True)
for axes, (name, model) in zip(panels, models.items(), strict=True):
    vectors = [
        ops.convert_to_numpy(model(to_ids([text], width)))[0] for width in (8, 16, 32)
    ]
    moved[name] = max(np.abs(vector - vectors[0]).max() for vector in vectors)
    for vector, width, marker, size in zip(
        vectors, (8, 16, 32), "o+.", (12, 12, 5), strict=True
    ):
        look = {"linestyle": "", "markerfacecolor": "none", "markersize": size}
        axes.plot(vector, marker, label=f"{width} steps", **look)
    axes.set(xlabel="component of the output", xticks=range(0, 16, 3))
    axes.set_title(f"{name}: moves by {moved[name]:.0e}")
panels[0].set_ylabel(f"output for {text!r}", fontsize=9)
panels[1].legend()
plt.show()
assert moved["stock layers"] > 1e-3
assert moved["keras_padsafe"] < 1e-6

# %% [markdown]
# ## What the loss divides by
# The loss of a sequence is a sum over steps, divided by a number of steps. Which
# number? Here the predictions and labels at real steps stay the same, and only the
# padding grows. For comparison, NumPy computes the mean over the real steps.

# %%
random = np.random.default_rng(0)
CLASSES, WIDTHS = 5, np.array([8, 16, 32, 64])
label_rows = np.where(mask, random.integers(1, CLASSES, mask.shape), 0)
logits = random.normal(size=(*label_rows.shape[:1], WIDTHS[-1], CLASSES))
right = np.eye(CLASSES)[label_rows] * mask[..., None]
logits[:, : mask.shape[1]] += 3 * right  # a model that is good where there are words
logits = logits.astype("float32")


def cross_entropy(**kwargs) -> keras.losses.Loss:
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True, **kwargs)


LOSSES = {
    "no mask": lambda y, p, m: cross_entropy()(y, p),
    "sample_weight=mask": lambda y, p, m: cross_entropy()(y, p, sample_weight=m),
    "the same, mean_with_sample_weight": lambda y, p, m: cross_entropy(
        reduction="mean_with_sample_weight"
    )(y, p, sample_weight=m),
    "kp.losses.MaskedLoss": lambda y, p, m: kp.losses.MaskedLoss(
        cross_entropy(), pad_label=0
    )(y, p),
}


def loss_at(loss, width: int) -> float:
    y = np.pad(label_rows, ((0, 0), (0, width - label_rows.shape[1])))
    return float(loss(y, logits[:, :width], (y != 0).astype("float32")))


log_sum = np.log(np.exp(logits).sum(-1))
picked = np.take_along_axis(logits[:, :8], label_rows[..., None], -1)[..., 0]
expected = (log_sum[:, :8] - picked)[mask].mean()
curves = {name: [loss_at(loss, w) for w in WIDTHS] for name, loss in LOSSES.items()}

fig, axes = plt.subplots(figsize=(8, 3.6))
for (name, curve), marker in zip(curves.items(), "osDx", strict=True):
    axes.plot(WIDTHS, curve, marker=marker, label=name, markersize=8)
axes.axhline(expected, color=figures.BLACK, linewidth=1, linestyle="-", zorder=0)
axes.set(xlabel="padded width, steps", ylabel="loss", ylim=0, xticks=WIDTHS)
axes.set_title(f"Thin line: the mean over real steps, by NumPy ({expected:.3f})")
axes.legend(loc="center right", fontsize=10)
plt.show()
np.testing.assert_allclose(curves["kp.losses.MaskedLoss"], expected, rtol=1e-5)
np.testing.assert_allclose(
    curves["the same, mean_with_sample_weight"], expected, rtol=1e-5
)
shrunk = np.array(curves["sample_weight=mask"]) * WIDTHS
np.testing.assert_allclose(shrunk, shrunk[0], rtol=1e-5)

# %% [markdown]
# A `sample_weight` of zeros and ones keeps the padding out of the sum, but not out of
# the number by which the sum is divided. So the loss becomes smaller as the padding
# grows, and so does every gradient. And because it multiplies, it cannot hide a NaN in
# the padding:

# %%
labels, width = label_rows, label_rows.shape[1]
broken = np.where(mask[..., None], logits[:, :width], np.nan)
for name, loss in LOSSES.items():
    print(f"{name:34} {float(loss(labels, broken, mask.astype('float32'))):.3f}")
masked_loss = kp.losses.MaskedLoss(cross_entropy(), pad_label=0)
np.testing.assert_allclose(float(masked_loss(labels, broken)), expected, rtol=1e-5)

# %% [markdown]
# ## What you can now do
# - Say what a fill does: a finite one lets padding in where real scores are low, an
#   infinite one gives 0/0 where nothing is real, and both depend on the dtype.
# - Test any model of yours in one line: pad the same rows further; the outputs must not
#   change.
# - Know what your loss divides by: use `MaskedLoss`, or `mean_with_sample_weight`.
#
# **Exercise.** Change only the addition in the stock encoder to `kp.layers.MaskedAdd`.
# Do its outputs agree now? Then pad the name on the left, for both encoders.
