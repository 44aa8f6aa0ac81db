"""The screens of `plan` and `grow`."""

from typing import Any

from rich.console import Group, RenderableType

from keras_padsafe.cli.sections import (
    bullets,
    command,
    heading,
    shape,
    some,
    table,
    titled,
)


def plan_view(document: dict[str, Any]) -> RenderableType:
    """The screen of what `Plan.to_json` gives."""
    return Group(
        heading("Plan", f": {_change(document)}"),
        *_parts(document),
        "",
        "The model was not touched.",
    )


def report_view(document: dict[str, Any]) -> RenderableType:
    """The screen of what `Report.to_json` gives."""
    plan, source, target = document["plan"], document["source"], document["target"]
    return Group(
        heading(target, f": {_change(plan)}, in {document['seconds']:.2f} s"),
        *_parts(plan),
        titled("Next: prove it", command("verify", source, target)),
    )


def _change(plan: dict[str, Any]) -> str:
    old, new = plan["old_size"], plan["new_size"]
    return f"vocabulary {plan['vocabulary']}, {old:,} -> {new:,} ids"


def _parts(plan: dict[str, Any]) -> list[RenderableType]:
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


def _new_ids(plan: dict[str, Any]) -> RenderableType:
    made, start = [], 0
    for old, length in plan["row_map"]:
        if old == -1:
            made.append(_span(start, length))
        start += length
    facts = [("ids", some(made)), ("rows", plan["new_rows"])]
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
    """Numbers as they are; an initializer by its class."""
    old, new = change["old"], change["new"]
    if isinstance(new, dict):
        return ("a whole table" if old is None else _name(old), _name(new))
    return f"{old}", f"{new}"


def _name(value: Any) -> str:
    return value["class_name"] if isinstance(value, dict) else str(value)
