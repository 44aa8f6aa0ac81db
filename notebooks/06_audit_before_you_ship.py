# %% [markdown]
# # Audit before you ship
# A classifier has five faults, and its accuracy shows none of them. An audit finds and
# names them. We fix them one by one, until the command line says that all is well.

# %%
import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import contextlib
import io
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import layers, ops

import keras_padsafe as kp
from keras_padsafe import figures
from keras_padsafe.unicode_names import read_unicode_names

figures.set_style()
random = np.random.default_rng(0)
folder = Path(tempfile.mkdtemp())

# %% [markdown]
# ## The data
# Our texts are the names of Unicode characters, which come with Python. The classes are
# their general categories. Id 0 is padding. A word that was not in the training data
# gets the id after the last one.

# %%
LENGTHS, DIM = range(2, 7), 32
TITLES = {"L": "letter", "M": "mark", "N": "number", "P": "punctuation", "S": "symbol"}
names = [n for n in read_unicode_names()[0] if n.category in TITLES]
names = [n for n in names if len(n.text.split()) in LENGTHS]
names = [names[i] for i in random.permutation(len(names))]
train, test = names[:-1500], names[-1500:]
known = dict.fromkeys(word for name in train for word in name.text.split())
vocabulary = ["", *known]
index = {word: number for number, word in enumerate(vocabulary)}
UNKNOWN = len(vocabulary)


def encode(texts: list[str], width: int) -> np.ndarray:
    ids = np.zeros((len(texts), width), "int32")
    for row, text in enumerate(texts):
        found = [index.get(word, UNKNOWN) for word in text.split()]
        ids[row, : len(found)] = found
    return ids


def by_length(some: list, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids and classes of the names of so many words, all of them known."""
    some = [n for n in some if len(n.text.split()) == length]
    some = [n for n in some if known.keys() >= set(n.text.split())]
    classes = np.array([list(TITLES).index(name.category) for name in some])
    return encode([name.text for name in some], length), classes


parts = {n: by_length(train, n) for n in LENGTHS}
held_out = {n: by_length(test, n) for n in LENGTHS}
print(f"{len(train)} names to train on, {len(known)} words, {len(test)} names to test")

# %% [markdown]
# ## A model that looks fine
# It averages its words, with the mask. It also looks at phrases, and should use the
# mask there too. To waste no work on padding, as many people do, we train it on batches
# of names that all have one length.


# %%
def build() -> keras.Model:
    keras.utils.set_random_seed(0)
    tokens = keras.Input((None,), dtype="int32", name="ids")
    table = layers.Embedding(len(vocabulary), DIM, mask_zero=True, name="words")
    words = table(tokens)
    bag = layers.GlobalAveragePooling1D(name="bag")(words)
    steps = ops.cumsum(ops.ones_like(tokens), axis=1)
    rates = (1e-3 ** np.linspace(0, 1, DIM // 2)).astype("float32")
    angles = ops.cast(ops.expand_dims(steps, -1), "float32") * rates
    positions = ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=-1)
    x = words + positions
    size = {"filters": 2 * DIM, "kernel_size": 3, "padding": "same"}
    x = layers.Conv1D(**size, activation="relu", name="phrases")(x)
    top = layers.GlobalMaxPooling1D(name="top")(x)
    x = layers.Concatenate(name="both")([bag, top])
    x = layers.Dense(len(TITLES), activation="softmax", name="category")(x)
    model = keras.Model(tokens, x)
    model.compile(keras.optimizers.Adam(4e-3), "sparse_categorical_crossentropy")
    return model


def batches(epochs: int) -> list[tuple[np.ndarray, np.ndarray]]:
    found = []
    for ids, classes in list(parts.values()) * epochs:
        rows = random.permutation(len(ids))
        cuts = range(128, len(ids), 128)
        found += [(ids[r], classes[r]) for r in np.split(rows, cuts)[:-1]]
    return [found[i] for i in random.permutation(len(found))]


def accuracy(model: keras.Model) -> float:
    right = [
        model.predict(ids, batch_size=500, verbose=0).argmax(-1) == classes
        for ids, classes in held_out.values()
    ]
    return float(np.concatenate(right).mean())


print(f"{build().count_params():,} weights")
model = build()
for x, y in batches(epochs=3):
    model.train_on_batch(x, y)
# Planted: a word whose row was made by dividing a vector of zeros by its length.
tested = np.concatenate([ids.ravel() for ids, _ in held_out.values()])
RARE = int(np.setdiff1d(np.arange(1, UNKNOWN), tested)[0])
rows = ops.convert_to_numpy(model.get_layer("words").embeddings).copy()
rows[RARE] = np.nan
model.get_layer("words").set_weights([rows])
model.save(folder / "model.keras")
looks = accuracy(model)
print(f"accuracy on names not seen: {looks:.1%}")
assert looks > 0.9

# %% [markdown]
# ## It breaks
# In use, a batch is padded to its longest name. What happens to short names when others
# are long? And what happens to three texts that the accuracy does not cover: one with a
# rare word, one with nothing at all, and one with an unknown word?

# %%
EXTRA = (0, 4, 16, 60)
ids, classes = held_out[4]


def answers(model: keras.Model) -> np.ndarray:
    """The scores of the names of four words, for each amount of padding."""
    wider = [np.pad(ids, ((0, 0), (0, extra))) for extra in EXTRA]
    return np.stack([model.predict(x, batch_size=500, verbose=0) for x in wider])


before = answers(model)
right = (before.argmax(-1) == classes).mean(-1)
changed = (before.argmax(-1) != before[0].argmax(-1)).mean(-1)
fig, axes = plt.subplots()
for share, marker, label in ((right, "o", "right"), (changed, "s", "changed")):
    axes.plot(range(len(EXTRA)), share * 100, marker=marker, markersize=8, label=label)
axes.set_xticks(range(len(EXTRA)), EXTRA)
axes.set(xlabel="padding after the four words, steps", ylabel="answers, %")
axes.set(ylim=(-3, 104), title=f"{len(ids)} names, the same words in wider batches")
axes.legend(loc="center left")
plt.show()
assert right[-1] < right[0] - 0.1
assert changed[-1] > 0.1

ordinary = [" ".join(vocabulary[i] for i in row) for row in ids[:4]]
texts = [*ordinary, "RIGHT ARROW", f"{vocabulary[RARE]} SIGN", "", "SMALL KERAS SIGN"]
x, y = encode(texts, 6), np.zeros(len(texts), "int32")
whole = slice(0, 5)
for row in range(5, 8):
    try:
        scores = ops.convert_to_numpy(model(x[[row]]))
        seen = "an answer" if np.isfinite(scores).all() else "NaN"
    except Exception as error:
        seen = type(error).__name__
    print(f"{texts[row]!r:24} {seen}")
    assert seen != "an answer"

# %% [markdown]
# ## Seen: five audits
# Each audit looks at the model from another side. Two of them do not run it: one reads
# the ids, the other the saved file. Each finding has a code. `FINDINGS.md` says for
# each code what it means, how it happens, and how to fix it.


# %%
def show(report: kp.audit.AuditReport) -> None:
    for finding in report:
        print(f"{finding.code} {finding.severity} at {finding.place}: {finding.title}")
        print(f"    {finding.message}")


found_in_ids = kp.audit.check_ids(x, input_dim=UNKNOWN, pad_id=0)
found_in_file = kp.audit.check_weights(folder / "model.keras")
show(found_in_ids)
show(found_in_file)
assert [f.code for f in found_in_ids] == ["PS101", "PS103"]
bad = next(f for f in found_in_file if f.code == "PS201")
assert bad.evidence["first"][0] == [RARE, 0]

# %% [markdown]
# The other three run the model on a batch and watch every layer. `find_nonfinite` shows
# where NaN begins. `trace_masks` follows every mask. `check_padding` runs the model
# again with other padding, and compares how far the answers move with what rounding
# alone does.

# %%
born = kp.audit.find_nonfinite(model, x[:-1], y[:-1], vocabulary=vocabulary)
trace = kp.audit.trace_masks(model, x[whole])
leaks = kp.audit.check_padding(model, x[whole], pad_id=0)
show(born)
print()
print(trace)
print()
show(leaks)
assert {f.code: f.evidence["rows"] for f in born} == {"PS505": [5], "PS501": [6]}
assert [f.code for f in trace] == ["PS301"]
assert {f.place for f in leaks if f.severity == "error"} == {"phrases", "top"}

# %% [markdown]
# The mask ends at one operation, `words + positions`. One of these tensors has a mask
# and the other has none, so Keras gives their sum none. No layer after it can know
# which steps are padding. The report holds how far each step of one name moved, and we
# draw that:

# %%
ADD = trace.findings[0].place
SHOWN = ("words", ADD, "phrases", "bag", "top", "category")
PAPER = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
STATES = (
    figures.Kind("real step, or answer: stays", figures.SKY),
    figures.Kind("moves with what padding holds", figures.VERMILION, "xxx"),
    figures.Kind("padding", figures.PALE, "///"),
)


def picture(report: kp.audit.PaddingReport, title: str) -> None:
    kept = {layer.path: layer for layer in report.layers if layer.path in SHOWN}
    grid = np.zeros((len(SHOWN), len(report.real)), int)
    # As in the audit, what moves eight times as far as by rounding is a leak.
    for row, layer in enumerate(kept.values()):
        if layer.positions is None:
            grid[row] = layer.moved > 8 * layer.noise
        else:
            moved = np.array(layer.positions) > 8 * layer.noise
            grid[row] = np.where(report.real, moved, 2)
    _, axes = plt.subplots()
    figures.tiles(axes, grid, STATES)
    for row, layer in enumerate(kept.values()):
        if layer.positions is None:
            axes.text(
                2.5, row, "one vector for all", ha="center", va="center", bbox=PAPER
            )
    axes.set_yticks(range(len(kept)), [f"{n}: {k.kind}" for n, k in kept.items()])
    axes.set(xlabel=f"step of {texts[report.row]!r}", title=title)
    figures.key(axes, STATES)
    plt.show()


picture(leaks, "Before: padding reaches real steps, and the answer")

# %% [markdown]
# ## On the command line
# One command does all of this for a file and a batch. It exits with 1 if there is an
# error or a warning; with `--json`, programs can read what it prints. Where NaN would
# hide what an audit looks for, the command says that it did not look.


# %%
def audit(file: str, batch: str) -> tuple[int, dict]:
    """Runs `keras-padsafe audit`; returns its exit code and what it prints."""
    arguments = ["audit", file, "--batch", batch, "--json"]
    print("$ keras-padsafe", *arguments)
    done = subprocess.run(
        [sys.executable, "-m", "keras_padsafe", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    document = json.loads(done.stdout)
    for finding in document["findings"]:
        if finding["severity"] != "note":
            print(f"{finding['code']}  {finding['place']:24} {finding['title']}")
    for name in document["skipped"]:
        print(f"not looked at yet: {name}")
    print("exit", done.returncode, end="\n\n")
    return done.returncode, document


np.savez(folder / "batch.npz", x=x, y=y)
steps = {"as found": audit("model.keras", "batch.npz")}
assert steps["as found"][0] == 1

# %% [markdown]
# ## Fixed, one by one
# 1. `PS201` comes first, because new rows would be means of NaN. There is no checkpoint
#    from before, so the bad row becomes the mean of the others.
# 2. `PS101`: `grow` gives the table a row for unknown words, which is the mean again.
# 3. `PS301`, `PS402` and `PS501`: `repair` replaces the layers in the file, keeps their
#    weights, and proves that rows without padding keep their answers.

# %%
rows[RARE] = np.delete(rows, [0, RARE], axis=0).mean(0)
model.get_layer("words").set_weights([rows])
model.save(folder / "healed.keras")
kp.surgery.grow(folder / "healed.keras", folder / "grown.keras", rows=1)
steps["table\nmended"] = audit("grown.keras", "batch.npz")

repair = kp.audit.repair(folder / "grown.keras", folder / "repaired.keras")
print(repair, end="\n\n")
assert repair.passed

repaired = keras.models.load_model(folder / "repaired.keras")
tight = kp.audit.check_padding(repaired, x[whole], pad_id=0)
picture(tight, "After the repair: what padding holds reaches nothing")
after = answers(repaired)
fig, axes = plt.subplots()
for scores, marker, label in ((before, "o", "before"), (after, "s", "after repair")):
    moved = np.abs(scores - scores[0]).max(-1)[1:]
    axes.plot(range(1, len(EXTRA)), moved.mean(-1), marker=marker, label=label)
axes.set_yscale("symlog", linthresh=1e-8)
axes.set(ylim=(-5e-9, 3), xlabel="padding after the four words, steps")
axes.set_xticks(range(1, len(EXTRA)), EXTRA[1:])
axes.set(
    ylabel="change of a score, mean of names", title="How far padding moves answers"
)
axes.legend(loc="center left")
plt.show()
assert tight.passed
np.testing.assert_allclose(after, np.broadcast_to(after[0], after.shape), atol=1e-5)
np.testing.assert_allclose(after[0], before[0], atol=1e-5)

# %% [markdown]
# ## Trained further, with a guard
# Two rows are only means so far. So we train further, with all lengths mixed in a
# batch, which is now safe, and with a few words read as unknown. One more thing goes
# wrong: one name has the weight 0/0. `NonFiniteGuard` undoes that step, says why, and
# goes on.

# %%
some = train[:1500]
tuning = encode([name.text for name in some], 8)
hidden = (random.random(tuning.shape) < 0.05) & (tuning != 0)
targets = np.array([list(TITLES).index(name.category) for name in some])
weights = np.ones(len(some), "float32")
weights[1000] = np.nan
guard = kp.callbacks.NonFiniteGuard(policy="skip")
lost = {}
for callback in (None, guard):
    tuned = keras.models.load_model(folder / "repaired.keras")
    keras.utils.set_random_seed(0)
    with contextlib.redirect_stderr(io.StringIO()) as said:
        tuned.fit(
            np.where(hidden, UNKNOWN, tuning),
            targets,
            sample_weight=weights,
            batch_size=128,
            callbacks=callback and [callback],
            verbose=0,
        )
    finite = [np.isfinite(weight).all() for weight in tuned.get_weights()]
    lost[callback] = finite.count(False)
    name = "guarded" if callback else "unguarded"
    print(f"{name}: {lost[callback]} of {len(finite)} weights hold NaN")
print(said.getvalue())
kept = accuracy(tuned)
print(f"accuracy: {looks:.1%} before, {kept:.1%} now")
assert lost[None] > 0
assert lost[guard] == 0
assert [f.code for bad in guard.reports for f in bad.report] == ["PS504"]
assert kept > looks - 0.03

# %% [markdown]
# One warning is left, and it is about the data: a text without words, to which no model
# can know the answer. We take it out of the batch; such texts are to be answered
# elsewhere. Now the command finds nothing wrong.

# %%
tuned.save(folder / "shipped.keras")
np.savez(folder / "clean.npz", x=x[x.any(-1)], y=y[x.any(-1)])
steps["trained,\ndata clean"] = audit("shipped.keras", "clean.npz")
assert steps["trained,\ndata clean"][0] == 0

LOOKS = {
    "nothing": figures.Kind("nothing", "white"),
    "skipped": figures.Kind("not looked at", figures.PALE, "///"),
    "note": figures.Kind("note", figures.SKY, ".."),
    "warning": figures.Kind("warning", figures.YELLOW, "++"),
    "error": figures.Kind("error", figures.VERMILION, "xxx"),
}
SIDES = {"PS1": "ids", "PS2": "weights", "PS3": "masks", "PS4": "padding"}
SIDES["PS5"] = "non-finite values"
states = {}
for column, (_, document) in enumerate(steps.values()):
    for finding in document["findings"]:
        row = states.setdefault(finding["code"], ["nothing"] * len(steps))
        row[column] = finding["severity"]
for code, row in states.items():
    for column, (_, document) in enumerate(steps.values()):
        if SIDES[code[:3]] in document["skipped"]:
            row[column] = "skipped"
states = dict(sorted(states.items()))
fig, axes = plt.subplots(figsize=(8, 4.4))
numbers = [[list(LOOKS).index(state) for state in row] for row in states.values()]
figures.tiles(axes, np.array(numbers), tuple(LOOKS.values()))
axes.set_yticks(range(len(states)), [f"{c} {kp.audit.CODES[c].title}" for c in states])
axes.set_xticks(
    range(len(steps)), [f"{name}\nexit {code}" for name, (code, _) in steps.items()]
)
axes.tick_params(axis="x", labelsize=10)
axes.set_title("What is left at each step (white: nothing)")
figures.key(axes, tuple(LOOKS.values())[1:])
plt.show()

# %% [markdown]
# ## Keep it so
# A test of your own protects the next change of the model: the mask has to reach the
# layer that pools. If it does not, the test fails and says why.


# %%
def test_the_mask_reaches_the_pooling(file: str) -> None:
    model = keras.models.load_model(folder / file)
    kp.audit.assert_mask_reaches(model, "top", batch=x[whole])


test_the_mask_reaches_the_pooling("shipped.keras")
try:
    test_the_mask_reaches_the_pooling("grown.keras")
    message = ""
except kp.errors.MaskError as error:
    message = str(error)
print(message)
assert f"'{ADD}' (Add)" in message

# %% [markdown]
# ## What you can now do
# - Audit a model before it ships: `keras-padsafe audit model.keras --batch batch.npz`,
#   with a batch that has short names, rare words, and what users really send.
# - Read the codes, and fix in order: weights, table, layers, data.
# - Train further with `NonFiniteGuard`, and keep `assert_mask_reaches` among your
#   tests.
#
# **Exercise.** Write the pooling as `ops.max(x, axis=1)`, as many people do. Which code
# do you get, can `repair` fix it, and what do you write instead?
