# %% [markdown]
# # New users and items every day
# A recommender meets users and items for which it has no rows. We give it spare rows,
# assign them to newcomers, take them back from those who left, and never compile again.

# %%
import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import tempfile
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import layers, ops

import keras_padsafe as kp
from keras_padsafe import figures

figures.set_style()
random = np.random.default_rng(0)

# %% [markdown]
# ## Five days of a shop
# Each user and each item has a taste, in four dimensions that the model does not see. A
# user takes the items that match. Every night ten users leave and ten new ones come;
# twenty items leave and twenty come.

# %%
DAYS, USERS, ITEMS, NEW_USERS, NEW_ITEMS = 5, 60, 120, 10, 20
TASTES = {
    kind: random.normal(size=(size + DAYS * new, 4))
    for kind, size, new in (("user", USERS, NEW_USERS), ("item", ITEMS, NEW_ITEMS))
}


def present(kind: str, day: int) -> list[str]:
    size, new = (USERS, NEW_USERS) if kind == "user" else (ITEMS, NEW_ITEMS)
    return [f"{kind}{number}" for number in range(day * new, day * new + size)]


def number(words: list[str]) -> np.ndarray:
    return np.array([int(word[4:]) for word in words])


def visits(day: int, count: int, users: list[str] | None = None) -> tuple:
    """Pairs of a user and an item, and whether the user took it."""
    who = random.choice(users or present("user", day), count).tolist()
    what = random.choice(present("item", day), count).tolist()
    fit = (TASTES["user"][number(who)] * TASTES["item"][number(what)]).sum(-1)
    return who, what, (fit > 0).astype("float32")


for day in range(2):
    users, items = present("user", day), present("item", day)
    print(f"day {day}: {users[0]} to {users[-1]}, {items[0]} to {items[-1]}")

# %% [markdown]
# ## Two towers
# A tower is a lookup layer and a table. The lookup layer runs in the input pipeline,
# and is saved with the model. `supports_jit` tells Keras that no string enters the
# compiled step. The loss counts how often it is traced. That happens only when Keras
# compiles (PyTorch compiles nothing, and runs the loss in each step).


# %%
@keras.saving.register_keras_serializable("shop")
class Tower(layers.Layer):
    """Words to ids, and a row for each id."""

    def __init__(self, rows: int, **options) -> None:
        super().__init__(**options)
        self.rows = rows
        self.lookup = layers.StringLookup(name="lookup")
        self.lookup.supports_jit = True
        self.table = layers.Embedding(rows, 8, name="table")

    def build(self, shape) -> None:
        self.table.build(shape)

    def call(self, ids):
        return self.table(ids)

    def get_config(self) -> dict:
        return {**super().get_config(), "rows": self.rows}


@keras.saving.register_keras_serializable("shop")
class TwoTowers(keras.Model):
    """The probability that a user takes an item."""

    def __init__(self, users: Tower, items: Tower, **options) -> None:
        super().__init__(**options)
        self.users, self.items = users, items

    def build(self, shape) -> None:
        self.users.build((None,))
        self.items.build((None,))

    def call(self, ids):
        fit = ops.sum(self.users(ids[:, 0]) * self.items(ids[:, 1]), axis=-1)
        return ops.sigmoid(fit)

    def get_config(self) -> dict:
        towers = {"users": self.users, "items": self.items}
        made = {k: keras.saving.serialize_keras_object(v) for k, v in towers.items()}
        return {**super().get_config(), **made}

    @classmethod
    def from_config(cls, config, custom_objects=None) -> "TwoTowers":
        made = keras.saving.deserialize_keras_object
        towers = {key: made(config.pop(key)) for key in ("users", "items")}
        return cls(**towers, **config)

    def ids(self, users: list[str], items: list[str]) -> np.ndarray:
        columns = self.users.lookup(users), self.items.lookup(items)
        return np.stack([ops.convert_to_numpy(column) for column in columns], -1)


traces = []


@keras.saving.register_keras_serializable("shop")
def counted_loss(wanted, given):
    traces.append(1)  # Python runs this line only while the step is traced.
    return keras.losses.binary_crossentropy(wanted, given)


def two_towers(day: int) -> TwoTowers:
    keras.utils.set_random_seed(1)
    towers = {}
    for kind in ("user", "item"):
        words = present(kind, day)
        towers[f"{kind}s"] = tower = Tower(len(words) + 1, name=f"{kind}s")
        tower.lookup.set_vocabulary(words)
    model = TwoTowers(**towers)
    model.build((None, 2))
    return model


def compiled(model: TwoTowers) -> TwoTowers:
    model.compile(keras.optimizers.Adam(0.03), counted_loss, auto_scale_loss=False)
    return model


def train(model: TwoTowers, day: int) -> None:
    who, what, took = visits(day, 4096)
    model.fit(model.ids(who, what), took, batch_size=128, epochs=2, verbose=0)


def accuracy(model: TwoTowers, tests: tuple) -> float:
    who, what, took = tests
    guessed = model.predict(model.ids(who, what), batch_size=512, verbose=0) > 0.5
    return float((guessed == took).mean())


def newcomers(day: int) -> list[str]:
    return present("user", day)[-NEW_USERS:]


tests = [visits(day, 1024) for day in range(DAYS)]
tests_of_new = [visits(day, 512, newcomers(day)) for day in range(DAYS)]

# %% [markdown]
# ## It breaks
# We train once, on day 0, and serve for five days. A user without a row gets id 0, the
# row of unknown words, and so the same answers as every other newcomer.

# %%
once = compiled(two_towers(0))
train(once, 0)
stale = [accuracy(once, tests[day]) for day in range(DAYS)]
unknown = [
    float((once.ids(*tests[day][:2]) == 0).any(-1).mean()) for day in range(DAYS)
]
print("day       ", *(f"{day:5}" for day in range(DAYS)))
print("unknown   ", *(f"{share:5.0%}" for share in unknown))
print("right     ", *(f"{share:5.0%}" for share in stale))
assert stale[-1] < stale[0] - 0.1

# %% [markdown]
# The usual remedy is a new model each night: a larger table, old rows copied by hand,
# and a new optimizer. `grow` does the copying, and keeps the optimizer. How often does
# Keras compile?

# %%
traces.clear()
grown = compiled(two_towers(0))
train(grown, 0)
by_growth = [len(traces)]
for day in range(1, DAYS):
    for kind in ("user", "item"):
        new = set(present(kind, day)) - set(present(kind, day - 1))
        grown = kp.surgery.grow(
            grown, vocabulary=f"{kind}s/table", tokens=sorted(new), proof=False
        ).model
    train(grown, day)
    by_growth.append(len(traces))
print("traced, in all:", by_growth)
print("rows of users, items:", grown.users.rows, grown.items.rows)

# %% [markdown]
# Each night gives a new model with new shapes, which must be compiled and deployed, and
# the tables never become smaller.
#
# ## The fix: spare rows
# `grow(capacity=)` adds rows that no word has yet. Each night `refill` gives spare rows
# to those who come, and takes back the rows of those who left. No shape changes, so the
# model stays the same object, and nothing is compiled again.

# %%
model = two_towers(0)
for kind, room in (("user", NEW_USERS), ("item", NEW_ITEMS)):
    model = kp.surgery.grow(
        model, vocabulary=f"{kind}s/table", capacity=room, proof=False
    ).model
model = compiled(model)
traces.clear()
train(model, 0)
by_refill, fresh = [len(traces)], [accuracy(model, tests[0])]
before_training, after_training = [], []
for day in range(1, DAYS):
    rows = ops.convert_to_numpy(model.users.table.embeddings).copy()
    stay = [
        (who, what)
        for who, what, _ in zip(*tests[day], strict=True)
        if who in present("user", day - 1) and what in present("item", day - 1)
    ]
    answers = model.predict(model.ids(*map(list, zip(*stay, strict=True))), verbose=0)
    for kind in ("user", "item"):
        now, then = present(kind, day), present(kind, day - 1)
        report = kp.surgery.refill(
            model,
            vocabulary=f"{kind}s/table",
            tokens=[word for word in now if word not in then],
            evict=[word for word in then if word not in now],
            proof=False,
        )
        assert report.model is model
    same = model.predict(model.ids(*map(list, zip(*stay, strict=True))), verbose=0)
    assert np.array_equal(same, answers)  # who stays keeps every answer
    before_training.append(accuracy(model, tests_of_new[day]))
    train(model, day)
    after_training.append(accuracy(model, tests_of_new[day]))
    by_refill.append(len(traces))
    fresh.append(accuracy(model, tests[day]))
print("traced, in all:", by_refill)
print("steps of the optimizer:", int(model.optimizer.iterations))
print("right:", *(f"{share:.0%}" for share in fresh))
assert keras.backend.backend() == "torch" or len(set(by_refill)) == 1
assert min(fresh) > stale[-1] + 0.05

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(8, 3.4))
for found, marker, label in (
    (fresh, "o", "refilled each night"),
    (stale, "s", "trained once"),
):
    left.plot(range(DAYS), np.multiply(found, 100), marker=marker, label=label)
left.set(xlabel="day", ylabel="right, %", ylim=(45, 100), xticks=range(DAYS))
left.set_title("answers")
left.legend(loc="lower left")
for found, marker, label in (
    (by_refill, "o", "refill"),
    (by_growth, "s", "grow each night"),
):
    counts = np.array(found) / found[0]
    right.plot(range(DAYS), counts, marker=marker, label=label)
right.set(xlabel="day", xticks=range(DAYS), ylim=(0, DAYS + 0.5))
right.set_title("compilations so far")
right.legend(loc="upper left")
plt.show()

# %% [markdown]
# ## Newcomers without a history
# A new row starts as the mean of all users, so a newcomer first gets the answers of an
# average user. After one day of visits, the row knows that user's own taste.

# %%
fig, axes = plt.subplots(figsize=(8, 3))
places = np.arange(1, DAYS)
for part, (label, found) in enumerate(
    (("on arrival", before_training), ("after a day", after_training))
):
    shift = (part - 0.5) * 0.36
    bars = axes.bar(
        places + shift,
        np.multiply(found, 100),
        0.34,
        label=label,
        color=figures.COLOURS[part],
        hatch=figures.HATCHES[part],
        edgecolor="white",
    )
    paper = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
    labels = [f"{share:.0%}" for share in found]
    axes.bar_label(bars, labels, padding=3, bbox=paper)
axes.axhline(50, color=figures.GREY, linestyle=":", label="chance")
axes.set(xlabel="day", ylabel="right, %", ylim=(0, 110), xticks=places)
axes.set_title("the ten users who came that day", pad=24)
axes.legend(ncols=3, loc="lower right", bbox_to_anchor=(1, 0.98))
plt.show()
assert np.mean(after_training) > np.mean(before_training) + 0.1

# %% [markdown]
# ## Saved and served
# The lookup layers are saved with the model. They hold the words, in the order of their
# rows.

# %%
path = Path(tempfile.mkdtemp(), "day4.keras")
model.save(path)
loaded = keras.models.load_model(path)
words = loaded.users.lookup.get_vocabulary()
print(*words[:4], "...", *words[-2:], f"({len(words)} rows)")
who, what, _ = tests[-1]
first, second = (m.predict(m.ids(who, what), verbose=0) for m in (model, loaded))
np.testing.assert_allclose(first, second, rtol=1e-6)
assert set(newcomers(DAYS - 1)) <= set(words)
assert "user0" not in words

# %% [markdown]
# ## What you can now do
# - Give a live model room for newcomers, once, with `grow(capacity=)`.
# - Each night `refill` it: new words in, stale words out. Nothing is compiled, and the
#   old answers and the optimizer are kept.
# - Do the same with files: `keras-padsafe refill day3.keras -o day4.keras --add user99
#   --evict user3`.
#
# **Exercise.** Someone who left comes back two days later. What does the model answer,
# and where would you keep the old row? `new_rows` of `refill` takes a matrix.
