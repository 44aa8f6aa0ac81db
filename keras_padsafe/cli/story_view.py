"""The screen of `demo`."""

from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from keras_padsafe.cli.certificate_view import checks_table
from keras_padsafe.cli.sections import command, heading, table, titled


def story_view(document: dict[str, Any]) -> RenderableType:
    """The screen of what `tell` found."""
    before, after = document["files"]
    return Group(
        heading("Unicode names", f", on Keras with {document['backend']}"),
        _data(document),
        table(
            "Files",
            ("file", ">ids", ">bytes"),
            ((f["path"], f"{f['ids']:,}", f"{f['bytes']:,}") for f in (before, after)),
        ),
        checks_table(document["certificate"]["checks"]),
        titled("Old outputs", _old_outputs(document["old_outputs"])),
        _accuracy(document),
        titled("Seconds", _seconds(document["seconds"])),
        titled("What this means", _closing(document)),
        titled("Next", command("inspect", after["path"])),
    )


def _data(document: dict[str, Any]) -> RenderableType:
    names, words, unicode = document["names"], document["words"], document["unicode"]
    return table(
        "Data",
        ("", ">names", ">words"),
        (
            (
                f"Unicode {unicode['old']}, of 2002",
                f"{names['train'] + names['held_out']:,}",
                f"{words['old']:,}",
            ),
            (
                f"added up to Unicode {unicode['new']}",
                f"{names['tune'] + names['test']:,}",
                f"{words['new']:,} new",
            ),
        ),
    )


def _old_outputs(found: dict[str, Any]) -> str:
    return (
        f"Largest difference between the two files, over all {found['names']:,} names "
        f"of 2002: {found['largest_difference']}"
    )


def _accuracy(document: dict[str, Any]) -> RenderableType:
    names, epochs = document["names"], document["epochs"]
    best = max(row["new_names"] for row in document["accuracy"])
    labels = {
        "old vocabulary, tuned": f"{names['tune']} labels, {epochs['tune']} epochs",
        "grown, tuned": f"{names['tune']} labels, {epochs['tune']} epochs",
        "from scratch": f"{names['tune']} labels, {epochs['scratch']} epochs",
    }
    return table(
        f"Accuracy: {names['test']:,} new names, {names['held_out']:,} old names held "
        "out of training",
        ("model", "trained on new names with", ">new names", ">old names"),
        (
            (
                row["model"],
                labels.get(row["model"], "none"),
                Text(
                    f"{row['new_names']:.3f}",
                    "bold green" if row["new_names"] == best else "",
                ),
                f"{row['old_names']:.3f}",
            )
            for row in document["accuracy"]
        ),
    )


def _closing(document: dict[str, Any]) -> str:
    accuracy = {row["model"]: row["new_names"] for row in document["accuracy"]}
    grown = accuracy["grown, tuned"]
    return (
        f"With {document['names']['tune']} labels, growing gives "
        f"{_points(grown - accuracy['old vocabulary, tuned'])} on new names over "
        "keeping the old vocabulary, where each new word is unknown, and "
        f"{_points(grown - accuracy['from scratch'])} over training from scratch. "
        "The more labels you have, the smaller the gain. With thousands, also train "
        "from scratch and compare."
    )


def _seconds(seconds: dict[str, float]) -> str:
    return ", ".join(f"{step} {time:.1f}" for step, time in seconds.items())


def _points(difference: float) -> str:
    return f"{100 * difference:+.1f} points"
