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
# # Heads, ties and optimizers
#
# A language model reads words and also predicts them. So new words can do more harm in
# it: they can take probability from the old words, break the tie between table and
# head, and upset the optimizer.

# %%
import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import re
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from pydoc_data.topics import topics

import keras
import matplotlib.pyplot as plt
import numpy as np

import keras_padsafe as kp
from keras_padsafe.figures import BLACK, BLUE, GREY, ORANGE, PALE, VERMILION, set_style

set_style()
# What Keras says where an optimizer's state does not fit, or was left behind.
warnings.filterwarnings("ignore", "Skipping variable loading for optimizer")
folder = Path(tempfile.mkdtemp())

# %% [markdown]
# ## A manual that grew
#
# Python carries its own manual, for `help()`. A model learns to predict its next word
# from the four before. We keep the chapter on the debugger aside, since its words are
# new. Id 0 stands for every unknown word.


# %%
def split(text):
    return re.findall(r"[a-z]+|[.,:;()]", text.lower())


chapters = {name: split(topics[name]) for name in sorted(topics)}
new_text = chapters.pop("debugger")
old_text = [word for chapter in chapters.values() for word in chapter]
count = Counter(old_text)
vocabulary = ["?", *sorted(word for word in count if count[word] >= 8)]
new_words = sorted(
    word
    for word, times in Counter(new_text).items()
    if times >= 3 and word not in vocabulary
)
old_size, new_size = len(vocabulary), len(vocabulary) + len(new_words)
everything = vocabulary + new_words


def windows(text, words, context=4):
    index = {word: i for i, word in enumerate(words)}
    ids = np.array([index.get(word, 0) for word in text], "int32")
    slices = np.lib.stride_tricks.sliding_window_view(ids, context + 1)
    return slices[:, :-1], slices[:, -1]


contexts, nexts = windows(old_text, vocabulary)
order = np.random.default_rng(0).permutation(len(contexts))
held_out, train = order[:2000], order[2000:]
print(f"{len(old_text):,} words of text, a vocabulary of {old_size}")
print(f"the new chapter: {len(new_text):,} words, {len(new_words)} to add, such as")
print(" ".join(new_words[:12]))
assert len(new_words) > 20

# %% [markdown]
# We train two models that differ only in the head. *Tied*: one table reads words and
# also scores them. *Untied*: the head is a `Dense` layer with weights of its own, and a
# bias.


# %%
def language_model(size, tied):
    ids = keras.Input((4,), dtype="int32")
    table = keras.layers.ReversibleEmbedding(size, 48, name="words")
    x = keras.layers.Flatten()(table(ids))
    x = keras.layers.Dense(128, activation="relu", name="mix")(x)
    x = keras.layers.Dense(48, name="state")(x)
    head = keras.layers.Dense(size, name="head")
    model = keras.Model(ids, table(x, reverse=True) if tied else head(x))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.002), loss)
    return model


def softmax(logits):
    scores = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return scores / scores.sum(axis=-1, keepdims=True)


def probabilities(model):
    return softmax(model.predict(contexts[held_out], batch_size=2000, verbose=0))


models, files = {}, {}
for kind in ("tied", "untied"):
    keras.utils.set_random_seed(0)
    model = language_model(old_size, kind == "tied")
    model.fit(contexts[train], nexts[train], batch_size=512, epochs=6, verbose=0)
    models[kind], files[kind] = model, folder / f"{kind}.keras"
    model.save(files[kind])
    chance = probabilities(model)[np.arange(2000), nexts[held_out]]
    perplexity = np.exp(-np.log(chance).mean())
    print(f"{kind:7} perplexity {perplexity:.0f} (of a blind guess: {old_size})")
    assert perplexity < old_size / 5

# %% [markdown]
# ## It breaks
#
# The usual recipe is to build a larger model, copy the old weights into its corner, and
# leave the rest as initialized. Here it is with three initializers. Each text continues
# the same four words with the same random numbers, and new words stand in boxes.


# %%
def grown_by_hand(model, kind, draw):
    bigger = language_model(new_size, kind == "tied")
    for new, old in zip(bigger.weights, model.weights, strict=True):
        # Keras starts every bias at zero.
        value = draw(new.shape) if len(new.shape) > 1 else np.zeros(new.shape)
        value[tuple(slice(n) for n in old.shape)] = keras.ops.convert_to_numpy(old)
        new.assign(value)
    return bigger


noise = np.random.default_rng(0)
draws = {
    "zeros": np.zeros,
    "Keras's default": lambda shape: noise.uniform(-0.05, 0.05, shape),
    "N(0, 1)": lambda shape: noise.normal(size=shape),
}


def write(model, start, length=34, seed=3):
    ids = [vocabulary.index(word) for word in start.split()]
    luck = np.random.default_rng(seed)
    for _ in range(length):
        share = softmax(model.predict_on_batch(np.array([ids[-4:]], "int32")))[0]
        share[0] = 0  # Never the unknown word.
        ladder = share.cumsum()
        ids.append(int(np.searchsorted(ladder, luck.random() * ladder[-1])))
    return [everything[i] for i in ids]


def show_texts(texts):
    axes = plt.figure(figsize=(8, 0.85 * len(texts))).subplots()
    y = 0
    for title, words in texts.items():
        axes.text(0, y, title, fontsize=10, weight="bold", va="center")
        x, y = 0, y + 1
        for word in words:
            if x + len(word) > 108:
                x, y = 0, y + 1
            style = {}
            if word in new_words:
                box = {"facecolor": ORANGE, "edgecolor": BLACK, "pad": 1, "alpha": 0.8}
                style = {"bbox": box, "weight": "bold"}
            axes.text(
                x, y, word, fontsize=8.5, family="monospace", va="center", **style
            )
            x += len(word) + 1.6
        y += 1.3
    axes.set(xlim=(-0.5, 111), ylim=(y - 0.6, -0.8))
    axes.axis("off")
    plt.show()


def taken(model):
    """The share of probability that new words take."""
    return probabilities(model)[:, old_size:].sum(axis=-1)


start = "the value of the"
texts = {"before": write(models["untied"], start)}
for way, draw in draws.items():
    model = grown_by_hand(models["untied"], "untied", draw)
    share = taken(model).mean()
    texts[f"by hand, {way}: new words take {share:.1%}"] = write(model, start)
show_texts(texts)
assert share > 0.9

# %% [markdown]
# N(0, 1) fails: the model keeps writing new words that it knows nothing about. Zeros
# and Keras's default look harmless here, but only by luck.
#
# ## Softmax ignores a constant, growth does not
#
# If the same number is added to every logit, no probability changes. So training leaves
# the logits at whatever level they happen to have; in some pretrained models it is far
# below zero. A new word with a row of zeros has the logit 0, whatever that level is.
#
# We can move the level of our models without changing what they compute. In the untied
# one, we lower every bias. In the tied one, we add one vector to every row of the
# table, and cancel it in the bias of the layer that reads the rows.


# %%
def states(model):
    inner = keras.Model(model.inputs, model.get_layer("state").output)
    return inner.predict(contexts[held_out], batch_size=2000, verbose=0)


def lowered(kind, by):
    model = keras.models.load_model(files[kind])
    if kind == "untied":
        kernel, bias = model.get_layer("head").get_weights()
        model.get_layer("head").set_weights([kernel, bias - by])
        return model
    centre = states(model).mean(axis=0)
    push = -by * centre / (centre @ centre)
    table, mix = model.get_layer("words"), model.get_layer("mix")
    kernel, bias = mix.get_weights()
    read = kernel.reshape(4, 48, -1).sum(axis=0)  # what all four words add together
    table.set_weights([table.get_weights()[0] + push])
    mix.set_weights([kernel, bias - push @ read])
    return model


low = {kind: lowered(kind, by=8) for kind in models}
for kind, model in low.items():
    logits = model.predict(contexts[held_out], batch_size=2000, verbose=0)
    gap = np.abs(softmax(logits) - probabilities(models[kind])).max()
    print(f"{kind:7} mean logit {logits.mean():6.1f}", end=", ")
    print(f"largest difference of a probability {gap:.0e}")
    assert gap < 1e-3


# %%
def head_of(model, kind):
    if kind == "tied":
        return model.get_layer("words").get_weights()[0], np.zeros(old_size)
    kernel, bias = model.get_layer("head").get_weights()
    return kernel.T, bias


levels = np.arange(0, 15, 2)
marks = dict(zip(["mean", *draws], "os^D", strict=True))
bound = len(new_words) / new_size
figure, panels = plt.subplots(1, 2, figsize=(8, 3.4), sharey=True)
for axes, kind in zip(panels, models, strict=True):
    curves = {way: [] for way in marks}
    for level in levels:
        model = lowered(kind, level)
        rows, bias = head_of(model, kind)
        hidden = states(model)
        old_mass = np.exp(hidden @ rows.T + bias).sum(axis=-1)
        for way, curve in curves.items():
            if way == "mean":
                new_rows, new_bias = rows.mean(axis=0, keepdims=True), bias.mean()
                new_rows = np.repeat(new_rows, len(new_words), axis=0)
            else:
                new_rows, new_bias = draws[way]((len(new_words), 48)), 0
            new_mass = np.exp(hidden @ new_rows.T + new_bias).sum(axis=-1)
            curve.append((new_mass / (new_mass + old_mass)).mean())
    for way, curve in curves.items():
        axes.plot(-levels, curve, marker=marks[way], label=way)
    axes.axhline(bound, color=GREY, linestyle=":", label="bound for the mean")
    axes.set(title=f"{kind} head", xlabel="added to every old logit")
    axes.set(xticks=-levels[::2], xlim=(0.7, -14.7))
    assert max(curves["mean"]) < bound
    assert np.ptp(curves["mean"]) < 0.01
    assert min(curves["zeros"][-1], curves["Keras's default"][-1]) > 0.9
panels[0].set(ylabel="probability taken\nby the new words", ylim=(-0.03, 1.05))
figure.legend(
    *panels[0].get_legend_handles_labels(), ncols=5, loc="outside lower center"
)
plt.show()

# %% [markdown]
# With mean rows the level does not matter, and there is a bound. If the old logits are
# $l_1, \dots, l_V$, then $n$ new words with logits $l'$ move every old prediction by a
# Kullback-Leibler divergence of exactly $\log(1 + \sum e^{l'} / \sum e^{l})$. A mean
# row with the mean bias has a logit that is the mean of the old logits, and the
# exponential of a mean is at most the mean of the exponentials. So the divergence is at
# most $\log(1 + n/V)$, for every input, at every level (Hewitt, 2021).
#
# ## The fix
#
# `grow` makes mean rows, and in a head it gives them the mean bias too. For the untied
# model it needs an answer first. `plan` asks the same question:

# %%
for kind, model in low.items():
    model.save(folder / f"low {kind}.keras")
try:
    kp.surgery.plan(folder / "low untied.keras", tokens=new_words)
    asked = False
except kp.errors.AmbiguousVocabularyError as error:
    asked = True
    print(str(error).partition("\n")[2])
assert asked

# %% [markdown]
# Our model flattens four words and predicts one. The file does not say what the head
# scores: it could be topics, if there happened to be as many topics as words. So `plan`
# asks, and we answer once: `also="head:1"`, which means axis 1 of the layer `head`. A
# head that scores every position is recognised without a question.

# %%
also = {"tied": (), "untied": ("head:1",)}
grown = {}
for kind in low:
    for new_rows in ("mean", "zeros"):
        before, after = (
            folder / f"low {kind}.keras",
            folder / f"{kind} {new_rows}.keras",
        )
        kp.surgery.grow(
            before, after, tokens=new_words, new_rows=new_rows, also=also[kind]
        )
        certificate = kp.surgery.verify(before, after)
        worst = certificate["probability of new ids"].value
        print(f"{kind:7} {new_rows:6} verified: {certificate.passed}", end=", ")
        print(f"new words take at most {worst:.1%}")
        grown[kind, new_rows] = keras.models.load_model(after)
        assert certificate.passed
    old = probabilities(low[kind])
    new = probabilities(grown[kind, "mean"])[:, :old_size]
    divergence = (old * np.log(old / new)).sum(axis=-1)
    assert divergence.max() <= np.log(1 + len(new_words) / old_size) + 1e-6

# %%
texts = {"before": write(low["tied"], start)}
for new_rows in ("mean", "zeros"):
    model = grown["tied", new_rows]
    title = f"grown, {new_rows}: new words take {taken(model).mean():.1%}"
    texts[title] = write(model, start)
show_texts(texts)
assert taken(grown["tied", "mean"]).mean() < bound
assert taken(grown["tied", "zeros"]).mean() > 0.5

# %% [markdown]
# ## The tie holds
#
# In a tied model there is one table, and after growing there must still be only one.
# The row that a new word learns as input must also be the row that scores it.

# %%
for kind in models:
    old, new = models[kind], grown[kind, "mean"]
    tables = [tuple(w.shape) for w in new.weights if new_size in w.shape]
    print(f"{kind:7} {old.count_params():,} -> {new.count_params():,} numbers", tables)
tied = grown["tied", "mean"]
table = tied.get_layer("words").get_weights()[0]
logits = tied.predict(contexts[held_out], batch_size=2000, verbose=0)
assert np.allclose(states(tied) @ table.T, logits, atol=1e-3)
assert tied.count_params() - models["tied"].count_params() == 48 * len(new_words)
assert sum(new_size in w.shape for w in tied.weights) == 1

# %% [markdown]
# ## The optimizer goes on
#
# A saved model carries Adam's memory: two numbers for every weight. With a larger table
# they no longer fit, and the usual advice is to start with a new optimizer. `grow`
# carries them over. For comparison, `optimizer="drop"` leaves them behind. We go on
# training with the new chapter mixed into the old text, and watch the loss on *old*
# text that was held out. Each line is the mean of three runs, with a band of one
# standard deviation.

# %%
new_contexts, new_nexts = windows(new_text, everything)


def batch(generator, new_share, size=512):
    many = round(size * new_share)
    old = generator.choice(train, size - many)
    new = generator.integers(0, len(new_contexts), many)
    return (
        np.concatenate([contexts[old], new_contexts[new]]),
        np.concatenate([nexts[old], new_nexts[new]]),
    )


def resume(path, seed, steps):
    model, generator = keras.models.load_model(path), np.random.default_rng(seed)
    losses, lengths, before = [], [], None
    for step in range(steps + 1):
        if step:
            model.train_on_batch(*batch(generator, len(new_text) / len(old_text)))
        model.reset_metrics()
        losses.append(model.test_on_batch(contexts[held_out], nexts[held_out]))
        model.reset_metrics()
        weights = np.concatenate([w.ravel() for w in model.get_weights()])
        lengths.append(np.nan if before is None else np.linalg.norm(weights - before))
        before = weights
    return np.array([np.array(losses) - losses[0], lengths], "float64")


runs = {}
for way, optimizer in (("carried", "keep"), ("reset", "drop")):
    path = folder / f"{way}.keras"
    kp.surgery.grow(
        files["untied"], path, tokens=new_words, also=("head:1",), optimizer=optimizer
    )
    runs[way] = np.array([resume(path, seed, 30) for seed in range(3)])

# %%
figure, panels = plt.subplots(1, 2, figsize=(8, 3.2))
titles = ("loss on old text, minus its start", "length of each step")
for part, (axes, title) in enumerate(zip(panels, titles, strict=True)):
    for (way, found), colour, line, marker in zip(
        runs.items(), (BLUE, VERMILION), ("-", "--"), "os", strict=True
    ):
        middle, spread = found[:, part].mean(axis=0), found[:, part].std(axis=0)
        steps = np.arange(len(middle))
        axes.fill_between(
            steps, middle - spread, middle + spread, color=colour, alpha=0.2
        )
        axes.plot(
            steps, middle, line, color=colour, marker=marker, markevery=5, label=way
        )
    axes.set_title(title, fontsize=11)
    axes.set_ylim(bottom=0 if part else None)
    axes.set_xlabel("step after growing")
    axes.grid(axis="y", color=PALE)
panels[0].set_ylabel("nats a word")
panels[1].set_ylabel("Euclidean norm")
panels[0].legend(title="optimizer", loc="upper left")
plt.show()
first = {way: found[:, 1, 1].mean() for way, found in runs.items()}
bump = {way: found[:, 0].mean(axis=0)[:11].max() for way, found in runs.items()}
print(f"first step, reset over carried: {first['reset'] / first['carried']:.1f} times")
print("highest loss within ten steps, over the start:", end=" ")
print(", ".join(f"{way} {height:+.3f}" for way, height in bump.items()))
assert first["reset"] > first["carried"]
assert bump["reset"] > bump["carried"]

# %% [markdown]
# In its first steps, a new Adam moves *every* weight by about the learning rate, also
# those that had settled. What that costs in loss is printed above: little in a model as
# small as ours that was trained so briefly. Carrying the slots over costs nothing.
#
# ## Alike at first, then apart
#
# All new rows start the same, so at first the model cannot tell new words apart. Does
# that hold them back? Here is the cosine between every two of them, before and after
# training on the new chapter. The titles give the loss on that chapter.

# %%
model = keras.models.load_model(folder / "carried.keras")
first_rows = model.get_layer("words").get_weights()[0]
chapter = {"before": model.evaluate(new_contexts, new_nexts, 4096, verbose=0)}
generator = np.random.default_rng(0)
for _ in range(150):
    model.train_on_batch(*batch(generator, 0.5))
last_rows = model.get_layer("words").get_weights()[0]
chapter["after"] = model.evaluate(new_contexts, new_nexts, 4096, verbose=0)

figure, panels = plt.subplots(1, 2, figsize=(8, 4), sharey=True)
for axes, rows, (title, loss) in zip(
    panels, (first_rows, last_rows), chapter.items(), strict=True
):
    new = rows[old_size:] / np.linalg.norm(rows[old_size:], axis=1, keepdims=True)
    cosines = new @ new.T
    image = axes.imshow(cosines, vmin=-0.2, vmax=1)
    axes.set(title=f"{title}: {loss:.1f} nats a word", xlabel="new word")
panels[0].set_ylabel("new word")
figure.colorbar(image, ax=panels, label="cosine", shrink=0.8)
plt.show()
apart = cosines[~np.eye(len(cosines), dtype=bool)]
print(f"mean cosine of two new words: {apart.mean():.2f}")
assert apart.mean() < 0.9
assert chapter["after"] < chapter["before"] - 1

# %% [markdown]
# ## What you can now do
#
# - Say what new words take from a language model, and why zeros and small random rows
#   work only by luck.
# - Grow tied and untied heads with mean rows, with a bound that holds for every input,
#   and read in `verify` how much probability the new words take.
# - Answer the question that `plan` asks when a file does not say what a head scores.
# - Go on training where you stopped, with the optimizer's memory.
#
# **Reference.** John Hewitt, *Initializing New Word Embeddings for Pretrained Language
# Models*, 2021.
#
# **Exercise.** Grow the tied model with `new_rows="normal:0"`, which draws each column
# with the mean and deviation that it has in the table. The expected logit is that of
# the mean row; why is the bound gone? Compare the probability that the new words take
# with that of mean rows, at both levels.
