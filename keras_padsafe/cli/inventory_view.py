"""The screen of `inspect`."""

from collections.abc import Iterator
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from keras_padsafe.cli.sections import (
    briefly,
    bullets,
    count,
    heading,
    prose,
    shape,
    some,
    table,
)


def inventory_view(document: dict[str, Any]) -> RenderableType:
    """The screen of what `Inventory.to_json` gives."""
    found = document["vocabularies"]
    title = heading(
        document["path"],
        f": {document['model']}, Keras {document['keras_version']}, "
        f"{count(document['arrays'], 'array')}",
    )
    return Group(
        title,
        *(_vocabulary(vocabulary) for vocabulary in found),
        *_near(document["near_tables"], found),
        bullets("Notes on the model", [*_asked(document), *document["notes"]]),
    )


def _near(near: list[dict[str, Any]], found: list[Any]) -> Iterator[RenderableType]:
    """What may be a table, and that none was found."""
    if not found:
        none = (
            "No vocabulary: no table of ids was found. If an array is one, or takes "
            "columns of ids that are made outside the model, say so: --also LAYER:AXIS."
        )
        yield ""
        yield (
            "No vocabulary was found whose table and size are known." if near else none
        )
    if near:
        yield bullets("What comes close", map(_settle, near), "bold yellow")


def _asked(document: dict[str, Any]) -> list[str]:
    if not document["asked"]:
        return []
    return [
        "Keras was asked what belongs to the ids. A new file gets its name only "
        "after both models were run and the change is proved."
    ]


def _names(found: dict[str, Any]) -> RenderableType:
    """What `--vocabulary` takes beside the name itself."""
    others = [name for name in found["layers"] if name != found["name"]]
    if not others:
        return Group()
    return prose(f"Also accepted by --vocabulary: {some(others)}")


def _spare(found: dict[str, Any]) -> RenderableType:
    spare = found["spare_ids"]
    return Text(f"Spare rows: {len(spare):,}") if spare else Group()


def _vocabulary(found: dict[str, Any]) -> RenderableType:
    return Group(
        "",
        heading(f"Vocabulary {found['name']}", f": {count(found['size'], 'id')}"),
        _names(found),
        _spare(found),
        _arrays("Arrays", found["arrays"]),
        table(
            "config.json",
            ("key", ">value", "why"),
            (
                (site["key"], briefly(site["value"]), site["reason"])
                for site in found["config"]
            ),
        ),
        table(
            "Words",
            ("layer", ">words", "ids", "stored in", "why"),
            map(_words, found["words"]),
        ),
        _arrays("Optimizer", found["optimizer_slots"]),
        table(
            "Left alone",
            ("array", "shape", "why"),
            (
                (item["path"], shape(item["shape"]), item["reason"])
                for item in found["left_alone"]
            ),
        ),
        bullets("Notes", found["notes"]),
        _to_settle(found),
    )


def _arrays(title: str, sites: list[dict[str, Any]]) -> RenderableType:
    """The axis over the ids stands out in the shape, and has a column of its own."""
    return table(
        title,
        ("array", "shape", ">axis", "role and why"),
        (
            (
                site["path"],
                _shape_with_axis(site),
                site["axis"],
                f"{site['role']}: {site['reason']}",
            )
            for site in sites
        ),
    )


def _shape_with_axis(site: dict[str, Any]) -> Text:
    parts: list[Any] = ["("]
    for axis, size in enumerate(site["shape"]):
        parts += [(str(size), "bold") if axis == site["axis"] else str(size), ", "]
    closing = ",)" if len(site["shape"]) == 1 else ")"
    return Text.assemble(*parts[:-1], closing, f" {site['dtype']}")


def _words(site: dict[str, Any]) -> tuple[Any, ...]:
    stored = site["stored_in"]
    last = site["first_id"] + site["count"] - 1
    return (
        site["layer"],
        f"{site['count']:,}",
        f"{site['first_id']} to {last}",
        stored if isinstance(stored, str) else ", ".join(stored),
        site["reason"],
    )


def _to_settle(found: dict[str, Any]) -> RenderableType:
    items = [*map(_settle, found["unexplained"])]
    if found["optimizer_problem"]:
        items.append(found["optimizer_problem"])
    return bullets("Please decide before it can grow", items, "bold yellow")


def _settle(item: dict[str, Any]) -> str:
    return f"{item['problem']}. {item['remedy']}."
