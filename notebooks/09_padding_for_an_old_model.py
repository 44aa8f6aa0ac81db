# %% [markdown]
# # Padding for an old model
# A model from the days of tf-keras has its weights in an `.h5` file, and no padding id:
# 0 is a word. We bring it to Keras 3 and give it a padding token. No answer changes.

# %%
import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import csv
import tempfile
from collections import Counter
from pathlib import Path

import h5py
import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import layers

import keras_padsafe as kp
from keras_padsafe import figures
from keras_padsafe.unicode_names import read_unicode_names

figures.set_style()
random = np.random.default_rng(0)
folder = Path(tempfile.mkdtemp())

# %% [markdown]
# ## What is left of the old model
# It sorts names of Unicode characters into letters, marks, numbers, punctuation and
# symbols. Words are numbered from 0, the commonest first. Each training batch had names
# of one length only, so nobody needed padding.

# %%
LENGTHS, TITLES, TESTS = (3, 5), "LMNPS", 300
names = [name for name in read_unicode_names()[0] if name.category in TITLES]
names = [name for name in names if len(name.text.split()) in LENGTHS]
names = [names[i] for i in random.permutation(len(names))]
count = Counter(word for name in names for word in name.text.split())
words = [word for word, _ in count.most_common()]
index = {word: number for number, word in enumerate(words)}


def of_length(some: list, length: int) -> tuple[np.ndarray, np.ndarray]:
    some = [name for name in some if len(name.text.split()) == length]
    ids = [[index[word] for word in name.text.split()] for name in some]
    return np.array(ids, "int32"), np.array([TITLES.index(n.category) for n in some])


both = {length: of_length(names, length) for length in LENGTHS}
test = {n: (x[:TESTS], y[:TESTS]) for n, (x, y) in both.items()}
train = {n: (x[TESTS:3000], y[TESTS:3000]) for n, (x, y) in both.items()}
print(f"{len(words):,} words; 0 is {words[0]!r}, 1 is {words[1]!r}, 2 is {words[2]!r}")


def old_code(**options) -> keras.Model:
    """The function that built the model, found in an old repository."""
    return keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            layers.Embedding(len(words), 24, name="embedding", **options),
            layers.LSTM(32, name="lstm"),
            layers.Dense(len(TITLES), activation="softmax", name="dense"),
        ]
    )


# %% [markdown]
# We have no such file at hand. So we train the model once more, and write its weights
# as `model.save_weights("old.h5")` of tf-keras did: with a group for each layer, the
# order of layers and weights in attributes, and `:0` after every name.


# %%
def save_as_tf_keras(model: keras.Model, path: Path) -> None:
    parts = {"embedding": "", "lstm": "lstm_cell/", "dense": ""}
    with h5py.File(path, "w") as file:
        file.attrs["backend"], file.attrs["keras_version"] = b"tensorflow", b"2.15.0"
        file.attrs["layer_names"] = [layer.name.encode() for layer in model.layers]
        for layer in model.layers:
            group = file.create_group(layer.name)
            inside = f"{layer.name}/{parts[layer.name]}"
            paths = [f"{inside}{weight.name}:0" for weight in layer.weights]
            group.attrs["weight_names"] = [path.encode() for path in paths]
            for path, weight in zip(paths, layer.weights, strict=True):
                group[path] = keras.ops.convert_to_numpy(weight)
        file.create_group("top_level_model_weights").attrs["weight_names"] = []


keras.utils.set_random_seed(0)
first = old_code()
first.compile(keras.optimizers.Adam(0.005), "sparse_categorical_crossentropy")
for _ in range(3):
    for x, y in train.values():
        for rows in np.split(random.permutation(len(x)), range(128, len(x), 128))[:-1]:
            first.train_on_batch(x[rows], y[rows])
save_as_tf_keras(first, folder / "old.h5")
with h5py.File(folder / "old.h5") as file:
    file.visititems(lambda name, item: print(name, getattr(item, "shape", "")))

# %% [markdown]
# Keras 3 reads such a file layer by layer, in order. The model answers as it did
# before.

# %%
old = old_code()
old.load_weights(folder / "old.h5")


def predict(model: keras.Model, ids: np.ndarray) -> np.ndarray:
    return model.predict(ids, batch_size=512, verbose=0)


answers = {length: predict(old, x) for length, (x, _) in test.items()}
right = [(answers[n].argmax(-1) == y).mean() for n, (_, y) in test.items()]
print("right, by length:", *(f"{share:.0%}" for share in right))
assert min(right) > 0.85
assert np.array_equal(answers[3], predict(first, test[3][0]))

# %% [markdown]
# ## It breaks
# Now names of all lengths come in one batch. What fills the rest of a row? Two ways
# come to mind: fill it with 0, or fill it with 0 and also set `mask_zero=True`.

# %%
EXTRA = (0, 2, 4, 8)
SHORT = test[3][0]
masked = old_code(mask_zero=True)
masked.load_weights(folder / "old.h5")


def changed(model: keras.Model, ids: np.ndarray, pad: int) -> list[float]:
    """The share of names with a score that moved, for each amount of padding."""
    wider = [np.pad(ids, ((0, 0), (0, n)), constant_values=pad) for n in EXTRA]
    moved = [np.abs(predict(model, x) - answers[3]).max(-1) for x in wider]
    return [float((some > 0.05).mean()) for some in moved]


lost = {
    "filled with 0": changed(old, SHORT, 0),
    "mask_zero=True": changed(masked, SHORT, 0),
}
for way, shares in lost.items():
    print(f"{way:16}", *(f"{share:4.0%}" for share in shares))
shown = SHORT[(SHORT == 0).any(-1)][:1]
print([words[i] for i in shown[0]], "->", [words[i] if i else "-" for i in shown[0]])
assert lost["filled with 0"][-1] > 0.1
assert lost["mask_zero=True"][0] > 0.03

# %% [markdown]
# If the rest is just filled with 0, the model reads a short name as if the commonest
# word followed it many times. With `mask_zero=True` the padding is hidden, but so is
# that word, wherever it stands.
#
# ## The fix: an id for padding
# `grow` puts a new id before all others. Every old id moves up by one, and so does
# everything that the file holds by id. `pad=True` makes the new id padding: its row is
# zeros, and it is masked.

# %%
old.save(folder / "old.keras")
report = kp.surgery.grow(
    folder / "old.keras", folder / "padded.keras", tokens=["[PAD]"], at=0, pad=True
)
report.plan.save_map(folder / "ids.csv")
for change in report.plan.arrays:
    print(f"{change.path}: {change.shape} -> {change.new_shape}")
for change in report.plan.config:
    print(f"{change.path[-1]}: {change.old} -> {change.new}")
padded = keras.models.load_model(folder / "padded.keras")
print(
    [type(layer).__name__ for layer in padded.layers], "stock layers, no code of ours"
)

# %% [markdown]
# The same on the command line:
#
# ```sh
# keras-padsafe grow old.keras -o padded.keras --add "[PAD]" --at 0 --pad --map ids.csv
# ```
#
# The map lists the new id of every old one, for texts that you have stored as ids.

# %%
with open(folder / "ids.csv", encoding="utf-8", newline="") as file:
    lines = list(csv.DictReader(file))
print(*lines[:3], sep="\n")
moved = np.zeros(len(words), "int32")
for line in lines:
    if line["old_id"]:
        moved[int(line["old_id"])] = int(line["new_id"])
lost["a padding token"] = changed(padded, moved[SHORT], 0)
for x, expected in zip((x for x, _ in test.values()), answers.values(), strict=True):
    np.testing.assert_allclose(predict(padded, moved[x]), expected, atol=1e-5)
assert lost["a padding token"] == [0] * len(EXTRA)

# %%
fig, axes = plt.subplots()
for (way, shares), marker in zip(lost.items(), "sDo", strict=True):
    axes.plot(EXTRA, np.multiply(shares, 100), marker=marker, label=way)
axes.set(
    xlabel="padding after three words, steps", ylabel="names with a changed score, %"
)
axes.set(xticks=EXTRA, title=f"{len(SHORT)} names, the same words in wider batches")
axes.legend()
plt.show()

# %% [markdown]
# ## Seen: one batch of all lengths
# Here is what each model reads in the same four names. One of them contains the word
# with the id 0.

# %%
picks = [shown[0], SHORT[0], *test[5][0][:2]]
width = max(map(len, picks))
grid = np.full((len(picks), width), -1)
for row, ids in enumerate(picks):
    grid[row, : len(ids)] = ids
KINDS = (
    figures.Kind("read as a word", figures.SKY),
    figures.Kind("padding, masked", figures.PALE, "///"),
    figures.Kind("padding read as a word", figures.VERMILION, "xxx"),
    figures.Kind("word masked", figures.YELLOW, "++"),
)
looks = {
    "filled with 0": np.where(grid < 0, 2, 0),
    "mask_zero=True": np.where(grid < 0, 1, np.where(grid == 0, 3, 0)),
    "a padding token": np.where(grid < 0, 1, 0),
}
fig, panels = plt.subplots(3, 1, figsize=(8, 7))
for axes, (way, states) in zip(panels, looks.items(), strict=True):
    figures.tiles(axes, states, KINDS)
    step = 1 if way == "a padding token" else 0
    for row, column in np.ndindex(grid.shape):
        id_ = grid[row, column]
        word = words[max(id_, 0)] if id_ >= 0 or not step else "[PAD]"
        paper = {"facecolor": "white", "edgecolor": "none", "pad": 1}
        label = f"{word[:13]}\n{id_ + step if id_ >= 0 else 0}"
        look = {"ha": "center", "va": "center", "fontsize": 7.5, "bbox": paper}
        axes.text(column, row, label, **look)
    axes.set(title=way, xticks=[], yticks=[])
figures.key(panels[0], KINDS)
plt.show()

# %% [markdown]
# ## Checked
# An audit looks from the other side: does an answer change if the padding holds
# something else, or becomes longer?

# %%
mixed = np.zeros((len(picks), width), "int32")
for row, ids in enumerate(picks):
    mixed[row, : len(ids)] = moved[ids]
audit = kp.audit.check_padding(padded, mixed, pad_id=0)
print("passed" if audit.passed else audit)
assert audit.passed

# %% [markdown]
# And now the model can be trained on batches of all lengths, shuffled as they should
# be.


# %%
def widened(ids: np.ndarray) -> np.ndarray:
    """New ids, padded to one length."""
    return np.pad(moved[ids], ((0, 0), (0, max(LENGTHS) - ids.shape[1])))


x = np.concatenate([widened(x) for x, _ in train.values()])
y = np.concatenate([y for _, y in train.values()])
padded.compile(keras.optimizers.Adam(0.002), "sparse_categorical_crossentropy")
keras.utils.set_random_seed(0)
padded.fit(x, y, batch_size=128, epochs=2, verbose=0)
tuned = [(predict(padded, moved[x]).argmax(-1) == y).mean() for x, y in test.values()]
print("right before:", *(f"{share:.0%}" for share in right))
print("right after: ", *(f"{share:.0%}" for share in tuned))
pad_row = keras.ops.convert_to_numpy(padded.layers[0].embeddings)[0]
print("the row of padding:", "zeros" if not pad_row.any() else "moved")
assert np.mean(tuned) > np.mean(right) - 0.02
assert not pad_row.any()

# %% [markdown]
# ## What you can now do
# - Load weights of tf-keras into Keras 3, and check that the model answers as before.
# - See why id 0 is not padding unless the model was trained so.
# - Give a trained model a padding token in one command, and carry stored ids over.
#
# **Exercise.** Let the model predict the next word, with a `Dense` head over the same
# words. What does `grow` do with the head when ids move?
