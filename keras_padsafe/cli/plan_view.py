"""The screen of `plan`, and what it shares with that of a report."""

from typing import Any

from rich.console import Group, RenderableType

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

_MOST = 8


def plan_view(document: dict[str, Any]) -> RenderableType:
    """The screen of what `Plan.to_json` gives."""
    return Group(
        heading("Plan", f": {change_text(document)}"),
        *plan_parts(document),
        "",
        *(_proved() if document["needs_proof"] else ()),
        "The model was not touched.",
    )


def change_text(plan: dict[str, Any]) -> str:
    """What becomes of the vocabulary, in a few words."""
    old, new = plan["old_size"], plan["new_size"]
    return f"vocabulary {plan['vocabulary']}, {old:,} -> {new:,} ids"


def plan_parts(plan: dict[str, Any]) -> list[RenderableType]:
    """All that changes, and how."""
    return [
        table(
            "Arrays",
            ("array", "shape", "new shape", "role"),
            (
                (
                    change["path"],
                    shape(change["shape"]),
                    shape(change["new_shape"]),
                    change["role"],
                )
                for change in plan["arrays"]
            ),
        ),
        table(
            "config.json",
            ("key", ">from", ">to"),
            ((_key(change["path"]), *_values(change)) for change in plan["config"]),
        ),
        table(
            "Words",
            ("layer", ">words", "stored in"),
            (
                (
                    change["layer"],
                    f"{change['count']:,} -> {change['new_count']:,}",
                    ", ".join(change["assets"]) or "config.json",
                )
                for change in plan["words"]
            ),
        ),
        _moved_ids(plan),
        _new_ids(plan),
        table(
            "Left alone",
            ("array", "shape", "why"),
            (
                (item["path"], shape(item["shape"]), item["reason"])
                for item in plan["left_alone"]
            ),
        ),
        bullets("Notes", plan["notes"]),
    ]


def _proved() -> tuple[RenderableType, ...]:
    return (
        prose(
            "A file made with this plan gets its name only after both models were "
            "run and the change is proved."
        ),
    )


def _moved_ids(plan: dict[str, Any]) -> RenderableType:
    """Old ids that get other numbers; those of `_MOST` stretches, and how many more."""
    moved, start = [], 0
    for old, length in plan["row_map"]:
        if old not in (-1, start):
            moved.append((_span(old, length), _span(start, length)))
        start += length
    rest = len(moved) - _MOST
    more = [("...", f"{rest} more; --map writes all")] if rest > 0 else []
    return table("Moved ids", ("old", "new"), [*moved[:_MOST], *more])


def _new_ids(plan: dict[str, Any]) -> RenderableType:
    made, start = [], 0
    for old, length in plan["row_map"]:
        if old == -1:
            made.append(_span(start, length))
        start += length
    if not made:
        return Group()
    facts = [
        ("ids", some(made)),
        ("rows", plan["new_rows"] if plan["pad"] is None else "zeros, for padding"),
    ]
    if plan["spare_ids"]:
        facts.append(("spare", count(len(plan["spare_ids"]), "row")))
    if plan["tokens"]:
        listed = some([f"{word} = {id_}" for word, id_ in plan["tokens"]])
        facts.append(("words", listed))
    return table("New ids", ("", ""), [*facts, ("optimizer", plan["optimizer"])])


def _span(start: int, length: int) -> str:
    return str(start) if length == 1 else f"{start} to {start + length - 1}"


def _key(path: list[str | int]) -> str:
    from keras_padsafe.saved_model.config_path import config_key

    return config_key(tuple(path))


def _values(change: dict[str, Any]) -> tuple[str, str]:
    """Numbers as they are; a list by its length, an initializer by its class."""
    old, new = change["old"], change["new"]
    is_object = isinstance(new, dict) and "class_name" in new
    before = "a whole table" if is_object and old is None else briefly(old)
    return before, briefly(new)
