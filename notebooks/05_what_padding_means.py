# %% [markdown]
# # What padding means: the vectors that nobody asked for
# An encoder returns a vector for every padded position, too. Here we train a small
# encoder, read these vectors with a linear probe, see what they do to pooled vectors,
# and put that right.

# %%
import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import layers, ops

import keras_padsafe as kp
from keras_padsafe import figures
from keras_padsafe.unicode_names import read_unicode_names

figures.set_style()
random = np.random.default_rng(0)

# %% [markdown]
# ## The data
# Our texts are the names of Unicode characters, which come with Python. The classes are
# their general categories: letter, mark, number, punctuation and symbol. All rows are
# padded to the same width.

# %%
WIDTH, WIDEST, DIM = 16, 64, 32
TITLES = {"L": "letter", "M": "mark", "N": "number", "P": "punctuation", "S": "symbol"}
names = [n for n in read_unicode_names()[0] if n.category in TITLES]
names = [names[i] for i in random.permutation(len(names))[:8000]]
words = dict.fromkeys(word for name in names for word in name.text.split())
index = {word: number for number, word in enumerate(words, start=1)}
ids = np.zeros((len(names), WIDEST), "int32")
for row, name in enumerate(names):
    known = [index[word] for word in name.text.split()]
    ids[row, : len(known)] = known
lengths = (ids != 0).sum(1)
classes = np.array([list(TITLES).index(name.category) for name in names])
assert lengths.max() < WIDTH
cut = len(names) - 1500
train, test = slice(0, cut), slice(cut, None)
print(f"{len(names)} names over {len(index)} words, {lengths.max()} words at most")
print(f"{1 - lengths.mean() / WIDTH:.0%} of {WIDTH} steps are padding")

# %% [markdown]
# ## An encoder as it is often written
# It is one block of a transformer. Padded *keys* are masked, so no word looks at a pad.
# Then all outputs are averaged, those of the pads too. The second encoder has the same
# sizes, and layers of `keras_padsafe`.


# %%
def encoder(safe: bool) -> keras.Model:
    """A classifier that returns scores, the pooled vector and that of every step."""
    keras.utils.set_random_seed(0)
    tokens = keras.Input((None,), dtype="int32")
    steps = ops.cumsum(ops.ones_like(tokens), axis=1) - 1
    places = layers.Embedding(WIDEST, DIM)(steps)
    size = {"num_heads": 4, "key_dim": DIM // 4}
    if safe:
        x = kp.layers.ExtendableEmbedding(len(index) + 1, DIM, pad_id=0)(tokens)
        x = kp.layers.MaskedAdd()([x, places])
        attended = kp.layers.MaskedMultiHeadAttention(**size)(x, x)
        x = layers.LayerNormalization()(kp.layers.MaskedAdd()([x, attended]))
        widened = layers.Dense(DIM)(layers.Dense(2 * DIM, activation="gelu")(x))
        x = layers.LayerNormalization()(kp.layers.MaskedAdd()([x, widened]))
        pooled = kp.layers.MaskedGlobalAveragePooling1D()(x)
    else:
        x = layers.Embedding(len(index) + 1, DIM)(tokens) + places
        keys = ops.expand_dims(ops.not_equal(tokens, 0), 1)
        attended = layers.MultiHeadAttention(**size)(x, x, attention_mask=keys)
        x = layers.LayerNormalization()(x + attended)
        widened = layers.Dense(DIM)(layers.Dense(2 * DIM, activation="gelu")(x))
        x = layers.LayerNormalization()(x + widened)
        pooled = layers.GlobalAveragePooling1D()(x)
    return keras.Model(tokens, [layers.Dense(len(TITLES))(pooled), pooled, x])


def trained(safe: bool) -> keras.Model:
    model = encoder(safe)
    head = keras.Model(model.input, model.outputs[0])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    head.compile(keras.optimizers.Adam(6e-3), loss)
    head.fit(ids[train, :WIDTH], classes[train], batch_size=256, epochs=2, verbose=0)
    return model


def look(model: keras.Model, width: int) -> list[np.ndarray]:
    """Scores, pooled vectors and all vectors of the names not seen, at this width."""
    return model.predict(ids[test, :width], batch_size=1000, verbose=0)


models = {"stock": trained(safe=False), "keras_padsafe": trained(safe=True)}
seen = {name: {WIDTH: look(model, WIDTH)} for name, model in models.items()}
for name, at in seen.items():
    accuracy = (at[WIDTH][0].argmax(-1) == classes[test]).mean()
    print(f"{name:14} accuracy on names not seen: {accuracy:.3f}")
    assert accuracy > 0.8

# %% [markdown]
# Both have learned the task. Nothing looks wrong, and no metric shows what follows.
#
# ## Pads look like words
# A pad is a query like any other: it looks at the real words and gets a vector. The
# norm of that vector is no different from that of a word. So what does it hold? Below,
# the last pad of each name is compared with the words of ten names. The mean of all
# outputs is subtracted first.

# %%
REAL = ids[test, :WIDTH] != 0
outputs = {name: at[WIDTH][2] for name, at in seen.items()}
for name, found in outputs.items():
    norms = np.linalg.norm(found, axis=-1)
    print(f"{name:14} mean norm of words {norms[REAL].mean():.2f}", end=", ")
    print(f"of pads {norms[~REAL].mean():.2f}")


def cosine(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    first = first / np.linalg.norm(first, axis=-1, keepdims=True)
    second = second / np.linalg.norm(second, axis=-1, keepdims=True)
    return first @ second.T


texts = [name.text.lower() for name in names[test]]
short = np.array([len(text) < 21 for text in texts])
chosen = [
    np.flatnonzero(short & (classes[test] == c))[n] for c in range(5) for n in (0, 1)
]
fig, panels = plt.subplots(1, 2, sharey=True, figsize=(8, 4))
own = {}
for axes, (name, found) in zip(panels, outputs.items(), strict=True):
    centred = found[chosen] - found.mean((0, 1))
    inside = REAL[chosen][..., None]
    table = cosine(centred[:, -1], (centred * inside).sum(1) / inside.sum(1))
    own[name] = np.diag(table).mean() - table.mean()
    image = axes.imshow(table, vmin=-1, vmax=1)
    axes.set_title(f"{name}\nown name {own[name]:+.2f} above the mean", fontsize=9)
    axes.set(xlabel="words of name", xticks=range(10))
labels = [f"{texts[row]} {n}" for n, row in enumerate(chosen)]
panels[0].set_yticks(range(10), labels, fontsize=9)
panels[0].set_ylabel("last pad of name")
fig.colorbar(image, ax=panels, label="cosine similarity", shrink=0.7)
plt.show()
assert own["stock"] > 0.3
assert abs(own["keras_padsafe"]) < 0.05

# %% [markdown]
# ## What a probe reads from a pad
# From one output vector, can a linear probe tell the category of the character, the
# number of words, or the position? The probe is fitted by least squares to half of the
# vectors, and measured on the others. All classes are equally frequent, so chance is
# one over their number.


# %%
def probe(vectors: np.ndarray, targets: np.ndarray) -> tuple[float, float]:
    """Accuracy on vectors not fitted, and that of chance."""
    kinds, counts = np.unique(targets, return_counts=True)
    share = min(counts.min(), 200)
    picked = [random.permutation(np.flatnonzero(targets == k))[:share] for k in kinds]
    rows = random.permutation(np.concatenate(picked))
    x = np.c_[vectors[rows] - vectors[rows].mean(0), np.ones(len(rows))]
    y = (targets[rows, None] == kinds).astype("float64")
    half = len(rows) // 2
    gram = x[:half].T @ x[:half] + 1e-2 * np.eye(x.shape[1])
    guess = (x[half:] @ np.linalg.solve(gram, x[:half].T @ y[:half])).argmax(-1)
    return float((guess == y[half:].argmax(-1)).mean()), 1 / len(kinds)


count = lengths[test]
some = (count >= 2) & (count <= 7)  # lengths of which there are enough
long = count >= 4
place = random.integers(0, 4, long.sum())


def probes(found: np.ndarray, pads: bool) -> list[tuple[float, float]]:
    step, first = (WIDTH - 1, WIDTH - 4) if pads else (0, 0)
    held = (~REAL if pads else REAL)[long]
    row, at = np.arange(long.sum()), first + place
    inside = held[row, at]  # leaves out the few names that reach so far
    return [
        probe(found[:, step], classes[test]),
        probe(found[some, step], count[some]),
        probe(found[long][row, at][inside], place[inside]),
    ]


read = {
    "words, stock": probes(outputs["stock"], pads=False),
    "last pads, stock": probes(outputs["stock"], pads=True),
    "last pads, keras_padsafe": probes(outputs["keras_padsafe"], pads=True),
}
fig, axes = plt.subplots(figsize=(8, 3.6))
for n, (name, found) in enumerate(read.items()):
    at = np.arange(3) + 0.26 * (n - 1)
    style = {"color": figures.COLOURS[n], "hatch": figures.HATCHES[n]}
    bars = axes.bar(at, [score for score, _ in found], 0.24, label=name, **style)
    paper = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
    axes.bar_label(bars, fmt="%.2f", fontsize=9, padding=2, bbox=paper)
for n, (_, chance) in enumerate(read["last pads, stock"]):
    axes.hlines(chance, n - 0.4, n + 0.4, "black", "--", linewidth=1.5, zorder=2)
axes.plot([], [], color="black", linestyle="--", linewidth=1.5, label="chance")
axes.set_xticks(range(3), ["category", "number of words", "position"])
axes.set(ylabel="accuracy of the probe", ylim=(0, 1.45), yticks=np.linspace(0, 1, 6))
axes.set_title("What one output vector tells")
axes.legend(ncols=2, loc="upper left", fontsize=10)
plt.show()
category, number, position = read["last pads, stock"]
assert category[0] > category[1] + 0.4
assert number[0] > number[1] + 0.15
category, number, position = read["last pads, keras_padsafe"]
assert category[0] < category[1] + 0.15
assert number[0] < number[1] + 0.15

# %% [markdown]
# A pad of the stock encoder is a summary of its name: it holds the category, and
# something of the length. A pad of our encoder holds its position, as every pad does,
# and nothing of the name.
#
# ## What pads do to a pooled vector
# The average over all steps is mostly pads, and the wider the batch, the more of them.
# So the vector of a name depends on how long the *other* names of its batch are. Here
# are the same names, padded to the smallest width and to the largest, with a line
# between the two:

# %%
WIDTHS = (WIDTH, 32, WIDEST)
for name, model in models.items():
    seen[name] |= {width: look(model, width) for width in WIDTHS[1:]}
scores = [seen["stock"][width][0] for width in WIDTHS]
right = [(at_width.argmax(-1) == classes[test]).mean() for at_width in scores]
print(
    "stock, accuracy:",
    *(f"{a:.3f} at {w};" for a, w in zip(right, WIDTHS, strict=True)),
)
assert np.ptp(right) < 0.02
vectors = {name: {w: seen[name][w][1] for w in WIDTHS} for name in models}

MARKERS = "os^Dv"
fig, panels = plt.subplots(1, 2, figsize=(8, 4.2))
for axes, (name, found) in zip(panels, vectors.items(), strict=True):
    narrow, wide = found[WIDTH], found[WIDEST]
    centre = narrow.mean(0)
    _, _, directions = np.linalg.svd(narrow - centre, full_matrices=False)
    flat, moved = ((v - centre) @ directions[:2].T for v in (narrow, wide))
    for kind, title in enumerate(TITLES.values()):
        rows = np.flatnonzero(classes[test] == kind)[:12]
        style = {"color": figures.COLOURS[kind], "edgecolor": "black", "s": 40}
        axes.scatter(*flat[rows].T, marker=MARKERS[kind], label=title, **style)
        for row in rows:
            line = np.stack([flat[row], moved[row]]).T
            axes.plot(*line, "-", color="black", linewidth=0.8, zorder=0)
            axes.plot(*moved[row], ".", color="black", markersize=4)
    step = np.linalg.norm(wide - narrow, axis=-1).mean()
    axes.set_title(f"{name}: moves by {step:.1e}", fontsize=11)
    axes.set(xlabel="first principal component", ylabel="second")
axes.plot([], [], "k.", markersize=4, label=f"at {WIDEST} steps")
fig.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=6)
plt.show()
narrow, wide = (vectors["keras_padsafe"][width] for width in (WIDTH, WIDEST))
np.testing.assert_allclose(narrow, wide, atol=1e-5)

# %% [markdown]
# The accuracy hardly changes, since the pads say the same as the words. The harm shows
# in a search by similarity.
#
# ## Fixed: pool what is real
# Names are stored padded to one width, and looked up padded to another. For how many of
# them does the nearest other name change? The third curve needs no training. Words
# never looked at pads, so it is enough to average the words alone: we apply
# `kp.ops.masked_mean` to what the stock encoder returns.


# %%
def masked_pool(found: np.ndarray) -> np.ndarray:
    real = ids[test, : found.shape[1]] != 0
    return ops.convert_to_numpy(kp.ops.masked_mean(found, real, axis=1))


def nearest(asked: np.ndarray, stored: np.ndarray) -> np.ndarray:
    similarity = cosine(asked.astype("float64"), stored.astype("float64")).round(6)
    np.fill_diagonal(similarity, -1)
    return similarity.argmax(-1)


vectors["stock, masked mean"] = {w: masked_pool(seen["stock"][w][2]) for w in WIDTHS}
found = {
    name: {w: nearest(by_width[w], by_width[WIDTH]) for w in WIDTHS}
    for name, by_width in vectors.items()
}
changed = {
    name: [(rows[w] != rows[WIDTH]).mean() for w in WIDTHS]
    for name, rows in found.items()
}
moved = np.flatnonzero(found["stock"][WIDTH] != found["stock"][WIDEST])
for row in moved[:4]:
    print(f"nearest to {texts[row]!r}")
    for width in (WIDTH, WIDEST):
        print(f"  {width} steps: {texts[found['stock'][width][row]]!r}")

# %%
fig, axes = plt.subplots(figsize=(8, 3.2))
for (name, shares), marker in zip(changed.items(), "osx", strict=True):
    axes.plot(WIDTHS, np.array(shares) * 100, marker=marker, markersize=9, label=name)
axes.set(xlabel="padded width of the question, steps", xticks=WIDTHS)
axes.set_ylabel("names with another nearest, %")
axes.set_title(f"{len(count)} names, stored at {WIDTH} steps")
axes.legend()
plt.show()
assert changed["stock"][-1] > 0.02
assert changed["stock, masked mean"][-1] < 0.005
assert changed["keras_padsafe"][-1] < 0.005

# %% [markdown]
# ## What you can now do
# - Expect meaning in pads: what an encoder returns there is a summary of the text, and
#   neither a norm nor the accuracy shows it.
# - Ask a linear probe what a vector holds before you trust what is pooled from it.
# - Pool real steps only, with `MaskedGlobalAveragePooling1D`, or with
#   `kp.ops.masked_mean` behind an encoder that is already trained.
#
# **Exercise.** Take the last step instead of the average, `outputs[:, -1]`, as is done
# with decoders. How well does it classify, and why? What does
# `MaskedGlobalLastPooling1D` give?
