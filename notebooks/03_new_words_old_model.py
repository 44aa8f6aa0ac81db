# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # New words, old model
#
# A classifier was trained on the names of Unicode's characters of 2002. Now it meets
# the words that Unicode has gained since. We grow its saved file, and prove that no
# answer to an old name changes.

# %%
import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import tempfile
import warnings
from collections import Counter, defaultdict
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np

import keras_padsafe as kp
from keras_padsafe.figures import (
    BLACK,
    BLUE,
    COLOURS,
    GREY,
    HATCHES,
    PALE,
    VERMILION,
    set_style,
)
from keras_padsafe.unicode_names import NEW_VERSION, OLD_VERSION, read_unicode_names

set_style()
# What Keras says where an optimizer's state does not fit, or was left behind.
warnings.filterwarnings("ignore", "Skipping variable loading for optimizer")
folder = Path(tempfile.mkdtemp())
old_file, grown_file = folder / "old.keras", folder / "grown.keras"

# %% [markdown]
# ## A vocabulary that really grew
#
# Python ships two editions of Unicode's table of characters. From a name such as `GREEK
# SMALL LETTER ALPHA` we predict the general category: letter, mark, number, punctuation
# or symbol. Id 0 is padding, and id 1 stands for every unknown word.

# %%
shuffle = np.random.default_rng(0).permutation
old_names, new_names = read_unicode_names()
old_names = [old_names[i] for i in shuffle(len(old_names))]
new_names = [new_names[i] for i in shuffle(len(new_names))]
held_out, train = old_names[:1200], old_names[1200:]
labelled, test = new_names[:4000], new_names[4000:8000]

known = {word for name in old_names for word in name.text.split()}
new_words = sorted({w for name in new_names for w in name.text.split()} - known)
old_index = {word: 2 + i for i, word in enumerate(sorted(known))}
old_size = 2 + len(old_index)
categories = sorted({name.category for name in old_names + new_names})


def encode(names, index):
    ids = np.zeros((len(names), 16), "int32")
    for row, name in zip(ids, names, strict=True):
        found = [index.get(word, 1) for word in name.text.split()][:16]
        row[: len(found)] = found
    return ids, np.array([categories.index(name.category) for name in names])


meets_new = np.mean([any(w not in known for w in n.text.split()) for n in new_names])
print(f"Unicode {OLD_VERSION}: {len(old_names):,} names, {len(known):,} words")
print(f"since, up to {NEW_VERSION}: {len(new_names):,} names, {len(new_words):,} new")
print(f"new names with a word that the old ones lack: {meets_new:.0%}")


# %%
def classifier(size):
    model = keras.Sequential(
        [
            keras.Input((16,), dtype="int32"),
            keras.layers.Embedding(size, 32, mask_zero=True, name="words"),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(len(categories), activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.002), "sparse_categorical_crossentropy")
    return model


def predict(model, names, index):
    return model.predict(encode(names, index)[0], batch_size=2048, verbose=0)


def accuracy(model, names, index):
    guesses = predict(model, names, index).argmax(-1)
    return float((guesses == encode(names, index)[1]).mean())


keras.utils.set_random_seed(0)
old_model = classifier(old_size)
ids, labels = encode(train, old_index)
# One word in twenty reads as unknown, so that the row of unknown words is trained.
hidden = np.random.default_rng(0).random(ids.shape) < 0.05
ids = np.where(hidden & (ids != 0), 1, ids)
old_model.fit(ids, labels, epochs=6, batch_size=128, verbose=0)
old_model.save(old_file)
before = accuracy(old_model, held_out, old_index)
print(f"old names, held out of training: {before:.1%} right")
print(f"new names: {accuracy(old_model, test, old_index):.1%} right")

# %% [markdown]
# ## It breaks
#
# The obvious way is to build the model again with a larger table, and to load the
# weights.

# %%
bigger = classifier(old_size + len(new_words))
try:
    bigger.load_weights(old_file)
    loaded = True
except ValueError as error:
    loaded = False
    print("ValueError:", str(error).partition("Target variable")[0])
assert not loaded

# %% [markdown]
# With `skip_mismatch=True` the file does load. Look at the rows on both sides of the
# border between old words and new.

# %%
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Keras does say here that it skipped a layer.
    bigger.load_weights(old_file, skip_mismatch=True)
after = accuracy(bigger, held_out, old_index)


def table_of(model):
    return keras.ops.convert_to_numpy(model.get_layer("words").embeddings)


def draw_border(axes, table, title):
    """The last old rows and the first new ones, all on one scale of colours."""
    rows = table[old_size - 24 : old_size + 12]
    axes.set_facecolor(PALE)
    axes.imshow(rows, vmin=-0.15, vmax=0.15, aspect="auto", interpolation="nearest")
    axes.set(title=title, xlabel="dimension", ylim=(35.5, -0.5), yticks=[11, 29.5])
    axes.set_yticklabels(["old\nwords", "new\nwords"])
    axes.axhline(23.5, color=VERMILION, linestyle="--")
    if len(rows) == 24:
        axes.text(15.5, 29.5, "no such rows yet", ha="center", va="center")


figure, panels = plt.subplots(1, 2, figsize=(8, 3.4))
draw_border(panels[0], table_of(old_model), f"saved: {before:.0%} of old names right")
draw_border(panels[1], table_of(bigger), f"skip_mismatch: {after:.0%} right")
plt.show()
survived = (table_of(bigger)[:old_size] == table_of(old_model)).all(axis=1).sum()
print(f"rows of old words that survived: {survived} of {old_size:,}")
assert survived == 0
assert after < 0.5 < before

# %% [markdown]
# `skip_mismatch` skips the whole table, not just the missing rows: now every word has a
# random row, the old ones too. What the table had learned is lost, and nothing stops
# you from shipping the model.
#
# ## The fix: plan, grow, verify
#
# `plan` reads the saved file and writes down what would change. It runs no model, and
# changes nothing.

# %%
plan = kp.surgery.plan(old_file, tokens=new_words)
for change in plan.arrays:
    print(f"{change.role:16} {change.path:26} {change.shape} -> {change.new_shape}")
for change in plan.config:
    print(f"{'config.json':16} {change.path[-1]:26} {change.old} -> {change.new}")
assert len(plan.arrays) == 3

# %% [markdown]
# These four have to change together, or the file does not load: the table, the two
# slots that Adam keeps for it, and the number in the configuration. `grow` carries out
# such a plan. `verify` proves the result: it compares the two files, and runs both
# models.

# %%
report = kp.surgery.grow(old_file, grown_file, tokens=new_words)
index = old_index | report.tokens
certificate = kp.surgery.verify(old_file, grown_file)
for check in certificate.checks:
    print(f"{check.status:8} {check.name:28} {check.detail}")
assert certificate.passed

# %%
grown = keras.models.load_model(grown_file)  # plain Keras
outputs = predict(old_model, old_names, old_index)
gaps = {
    "skip_mismatch": np.abs(predict(bigger, old_names, old_index) - outputs).max(-1),
    "grown": np.abs(predict(grown, old_names, index) - outputs).max(-1),
}
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.4))
kept = accuracy(grown, held_out, index)
draw_border(left, table_of(grown), f"grown: {kept:.0%} of old names right")
edges = np.linspace(0, 1, 21)
for (label, gap), colour, pattern in zip(
    gaps.items(), (VERMILION, BLUE), ("xxx", ""), strict=True
):
    right.hist(gap, edges, label=label, color=colour, hatch=pattern, alpha=0.9)
right.set(
    title="every old name, before and after",
    xlabel="largest difference of an output",
    ylabel="names",
)
right.legend()
plt.show()
print(f"largest difference after growing: {gaps['grown'].max()}")
assert np.array_equal(table_of(grown)[:old_size], table_of(old_model))
assert gaps["grown"].max() == 0

# %% [markdown]
# All names grown are in one bar, at zero. Each new row is the mean of the old rows,
# since nothing is known yet about the new word.
#
# ## Is it worth it?
#
# Now a few hundred new names get a label. We compare five ways to use them: keep the
# old vocabulary; grow it with rows that are the mean, zeros, or numbers drawn from N(0,
# 1), as a careless initializer would draw them; or train from scratch, for many more
# epochs.


# %%
def scratch(names):
    keras.utils.set_random_seed(0)
    return tuned(classifier(plan.new_size), names, index, 10_000 // len(names))


def tuned(model, names, words, epochs):
    keras.utils.set_random_seed(0)
    ids, labels = encode(names, words)
    model.fit(ids, labels, batch_size=32, epochs=max(epochs, 5), verbose=0)
    return model


def grown_by(new_rows):
    kp.surgery.grow(
        old_file, grown_file, tokens=new_words, new_rows=new_rows, overwrite=True
    )
    return keras.models.load_model(grown_file)


few = labelled[:500]
draws = np.random.default_rng(0).normal(size=(len(new_words), 32))
ways = {
    "old\nvocabulary": (lambda: keras.models.load_model(old_file), old_index),
    "grown,\nmean": (lambda: grown_by("mean"), index),
    "grown,\nzeros": (lambda: grown_by("zeros"), index),
    "grown,\nN(0, 1)": (lambda: grown_by(draws), index),
}
models = {
    way: (tuned(make(), few, words, 5), words) for way, (make, words) in ways.items()
}
models["from\nscratch"] = scratch(few), index
scores = {
    way: [accuracy(model, names, words) for names in (test, held_out)]
    for way, (model, words) in models.items()
}

# %%
figure, axes = plt.subplots(figsize=(8, 3.6))
for part, label in enumerate(("new names", "old names")):
    places = np.arange(len(scores)) + (part - 0.5) * 0.4
    heights = [found[part] for found in scores.values()]
    bars = axes.bar(places, heights, 0.38, label=label, hatch=HATCHES[part])
    for bar in bars:
        bar.set(facecolor=COLOURS[part], edgecolor="white")
    axes.bar_label(bars, [f"{height:.0%}" for height in heights], padding=3)
axes.set(ylabel="accuracy", ylim=(0, 1.12), yticks=np.linspace(0, 1, 6))
axes.set_xticks(range(len(scores)), scores)
axes.set_title(f"after {len(few)} labelled new names", pad=24)
axes.legend(ncols=2, loc="lower right", bbox_to_anchor=(1, 0.98))
plt.show()
trained = table_of(old_model).std()
print(f"standard deviation: trained rows {trained:.2f}, drawn rows {draws.std():.2f}")
assert scores["grown,\nmean"][0] > scores["old\nvocabulary"][0]
assert scores["grown,\nmean"][0] > scores["from\nscratch"][0]
assert scores["grown,\nmean"][0] > scores["grown,\nN(0, 1)"][0] + 0.05
assert scores["grown,\nmean"][1] > scores["from\nscratch"][1]
assert np.allclose(scores["grown,\nmean"], scores["grown,\nzeros"], atol=0.02)

# %% [markdown]
# Growing beats the old vocabulary. It also beats training from scratch, which never
# learns as much about the old names. Rows from N(0, 1) drown the trained ones, as the
# standard deviations above show. Zeros do as well as the mean *here*, where rows are
# only read. In a model that also predicts words they do not; that is the subject of
# [the next notebook](04_heads_ties_and_optimizers.ipynb).
#
# ## Train the new rows only
#
# Fine-tuning the whole model changes its answers for old names too. If they must stay
# as they are, train only the new rows: `freeze_old_rows` returns a model in which
# nothing else moves, whatever the optimizer. The trained rows are then written into a
# file of stock layers: `grow` takes them as a matrix.

# %%
grown_by("mean")
frozen = kp.surgery.freeze_old_rows(grown_file, old_size)
tuned(frozen, few, index, 10)
rows = table_of(frozen)[old_size:]
kp.surgery.grow(old_file, folder / "tuned.keras", tokens=new_words, new_rows=rows)
final = keras.models.load_model(folder / "tuned.keras")  # plain Keras again
moved = np.abs(predict(final, old_names, index) - outputs).max()
print(f"largest difference on old names: {moved}")
first, last = (accuracy(model, test, index) for model in (grown, final))
print(f"new names: {first:.1%} right before, {last:.1%} after")
assert moved == 0
assert last > first + 0.01

# %% [markdown]
# ## Where the new words went
#
# We draw the rows along the two directions in which the old rows differ most (by
# singular value decomposition). The category of a word is the one that most of its
# names have. Nobody told the model which old words a new word belongs with. It had only
# a few labels and the old rows.

# %%
votes = defaultdict(Counter)
for name in old_names + new_names:
    for word in name.text.split():
        votes[word][name.category] += 1
group = {word: count.most_common(1)[0][0] for word, count in votes.items()}
start, end = table_of(grown), table_of(final)
drifted = [
    w
    for w in new_words
    if group[w] in "LMNPS" and (start[index[w]] != end[index[w]]).any()
]
middle = start[:old_size].mean(axis=0)
directions = np.linalg.svd(start[:old_size] - middle, full_matrices=False)[2][:2].T
kinds = {"L": "letter", "M": "mark", "N": "number", "P": "punctuation", "S": "symbol"}


def on_map(axes, table, words, **style):
    x, y = ((table[[index[word] for word in words]] - middle) @ directions).T
    axes.scatter(x, y, **style)


figure, panels = plt.subplots(1, 2, figsize=(8, 4.2), sharex=True, sharey=True)
for (kind, label), colour, marker in zip(
    kinds.items(), COLOURS[:5], "os^Dv", strict=True
):
    old = [word for word in old_index if group[word] == kind][:120]
    new = [word for word in drifted if group[word] == kind]
    style = {"marker": marker, "linewidths": 0.6}
    for axes in panels:
        on_map(axes, start, old, s=16, facecolors="none", edgecolors=colour, **style)
    on_map(
        panels[1], end, new, s=30, color=colour, edgecolors=BLACK, label=label, **style
    )
panels[0].plot(0, 0, "*", color=BLACK, markersize=18)
panels[0].annotate(
    "every new word", (0, 0), (0.05, 0.42), arrowprops={"arrowstyle": "->"}
)
panels[0].set(title="grown (open: old words)", ylabel="second direction")
panels[1].set(title="new rows trained (filled: new words)", ylim=(-0.65, 0.65))
for axes in panels:
    axes.set(xlabel="first direction", xlim=(-0.7, 0.7))
figure.legend(
    *panels[1].get_legend_handles_labels(), ncols=5, loc="outside lower center"
)
plt.show()

# %%
centres = {
    kind: start[[i for w, i in old_index.items() if group[w] == kind]].mean(axis=0)
    for kind in kinds
}
compass = np.array([centre - middle for centre in centres.values()])
compass /= np.linalg.norm(compass, axis=1, keepdims=True)
drift = np.array([end[index[word]] - start[index[word]] for word in drifted])
towards = [list(kinds)[i] for i in (drift @ compass.T).argmax(axis=1)]
right = np.mean([to == group[w] for to, w in zip(towards, drifted, strict=True)])
share = Counter(group[word] for word in drifted).most_common(1)[0][1] / len(drifted)
print(f"{len(drifted)} new words with a label moved")
print(f"of these towards their own category's old words: {right:.0%}")
print(f"always guessing the commonest category would give {share:.0%}")
still = [index[w] for w in new_words if (start[index[w]] == end[index[w]]).all()]
print(f"{len(still):,} words without a label stayed on the mean")
assert right > share + 0.1

# %% [markdown]
# ## When not to grow
#
# Growing pays when labels are few. Here is the same comparison with more of them.

# %%
counts = [125, len(few), 4000]
race = {"grown,\nmean": [], "from\nscratch": []}
for count in counts:
    names = labelled[:count]
    if count == len(few):  # the race above
        results = [scores[way][0] for way in race]
    else:
        models = tuned(grown_by("mean"), names, index, 5), scratch(names)
        results = [accuracy(model, test, index) for model in models]
    for found, result in zip(race.values(), results, strict=True):
        found.append(result)
figure, axes = plt.subplots(figsize=(8, 3))
for (label, found), marker in zip(race.items(), "os", strict=True):
    axes.plot(counts, found, marker=marker, label=label.replace("\n", " "))
axes.set(xscale="log", xlabel="labelled new names", ylabel="accuracy on new names")
axes.set_xticks(counts, counts)
axes.set_title("the more labels, the smaller the lead")
axes.minorticks_off()
axes.grid(axis="y", color=PALE)
axes.axhline(
    accuracy(old_model, test, old_index), color=GREY, linestyle=":", label="old model"
)
axes.legend()
plt.show()
lead = np.subtract(*race.values())
print("lead of growing, in points:", *(f"{100 * gap:.1f}" for gap in lead))
assert lead[0] > lead[-1]

# %% [markdown]
# ## What you can now do
#
# - Say why `load_weights` refuses a larger table, and why `skip_mismatch=True` is
#   worse.
# - `plan`, `grow` and `verify` a saved model, whose old outputs stay the same, bit for
#   bit.
# - Train new rows alone with `freeze_old_rows`, and keep a file of stock layers.
# - Judge when growing is worth it: when labels are few. When you have many, train from
#   scratch too and compare.
#
# **Exercise.** Words without a label never left the mean. Try to give them a better
# start: pass `new_rows` a matrix in which each new word gets the mean of the old words
# beside it in new names. That takes no labels. Does it beat the plain mean, before
# fine-tuning and after? Measure before you believe it.
