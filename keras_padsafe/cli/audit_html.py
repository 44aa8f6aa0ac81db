"""The page of `audit`: one file, nothing loaded from elsewhere."""

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from keras_padsafe.audit.codes import explanation
from keras_padsafe.audit.padding_report import said
from keras_padsafe.cli.audit_style import STYLE
from keras_padsafe.cli.audit_view import not_looked_at, sentence, severities

_STATES: Mapping[str, tuple[str, str]] = {
    "real": ("", "a real position"),
    "masked": ("", "padding, hidden by the mask"),
    "unmasked": ("?", "padding that no mask hides"),
    "moved": ("!", "a real position that changes with the padding"),
    "nonfinite": ("×", "NaN or infinity"),
}


def audit_html(document: Mapping[str, Any]) -> str:
    """The page of what `FileAudit.to_json` gives."""
    parts = [
        _head(document),
        _findings(document["findings"]),
        _picture(document.get("picture"), document["findings"]),
        _masks(document["checks"].get("masks")),
        _variants(document["checks"].get("padding")),
        _pad_outputs(document["checks"].get("padding")),
        _looked_at(document),
        _meanings(document["findings"]),
    ]
    title = escape(f"Audit of {document['model']}")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{title}</title><style>{STYLE}</style></head><body><main>\n"
        + "\n".join(part for part in parts if part)
        + "\n</main></body></html>\n"
    )


def _head(document: Mapping[str, Any]) -> str:
    counts = severities(document["findings"])
    about = [f"keras_padsafe {document['version']}"]
    if document.get("backend"):
        about.append(f"run on Keras with {document['backend']}")
    if document.get("batch"):
        about.append(f"batch {document['batch']}")
    mood = "passed" if document["passed"] else "failed"
    verdict = f"{document['verdict']}: {counts or 'nothing found'}"
    return (
        f"<h1>Audit of {escape(document['model'])}</h1>"
        f'<p class="soft">{escape(" · ".join(about))}</p>'
        f'<p class="verdict {mood}" role="status">{escape(verdict)}</p>'
    )


def _findings(findings: Iterable[Mapping[str, Any]]) -> str:
    cards = [
        f'<article class="finding {finding["severity"]}">'
        f"<h3>{_code(finding['code'])} {escape(finding['title'])} "
        f"<code>{escape(finding['place'])}</code></h3>"
        f'<p class="severity">{escape(finding["severity"].capitalize())}</p>'
        f"<p>{escape(sentence(finding['message']))}</p>"
        f'<p class="fix">{escape(finding["fix"])}</p>'
        "<details><summary>Details</summary>"
        f"{_evidence(finding['evidence'])}</details></article>"
        for finding in findings
    ]
    return "<h2>Findings</h2>" + "".join(cards) if cards else ""


def _code(code: str) -> str:
    return f'<a href="#{escape(code)}">{escape(code)}</a>'


def _meanings(findings: Iterable[Mapping[str, Any]]) -> str:
    """What FINDINGS.md says of each code on the page."""
    from markdown_it import MarkdownIt

    render = MarkdownIt("commonmark", {"html": False}).render
    titles = {finding["code"]: finding["title"] for finding in findings}
    parts = [
        f'<section class="meaning" id="{escape(code)}">'
        f"<h3>{escape(code)} {escape(titles[code])}</h3>"
        f"{render(explanation(code))}</section>"
        for code in sorted(titles)
    ]
    return "<h2>What the codes mean</h2>" + "".join(parts) if parts else ""


def _evidence(evidence: Mapping[str, Any]) -> str:
    rows = [
        (name.replace("_", " "), f"<code>{escape(_figure(value))}</code>")
        for name, value in evidence.items()
    ]
    return _table((), [(escape(name), value) for name, value in rows])


def _figure(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_figure(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_figure, value)) + "]"
    return str(value)


def _picture(
    picture: Mapping[str, Any] | None, findings: Iterable[Mapping[str, Any]]
) -> str:
    if not picture or not picture["layers"]:
        return ""
    found = {finding["place"] for finding in findings}
    longest = max(len(layer["states"]) for layer in picture["layers"])
    columns = "".join(f'<th scope="col">{step}</th>' for step in range(longest))
    rows = "".join(_pictured(layer, longest, found) for layer in picture["layers"])
    legend = "".join(
        f'<li><i class="cell {state}" aria-hidden="true">{sign}</i>'
        f"{escape(meaning)}</li>"
        for state, (sign, meaning) in _STATES.items()
    )
    return (
        f"<h2>Row {picture['row']} of the batch, layer by layer</h2>"
        '<p class="soft">Each column is a time step. A bar across all columns is an '
        "output without a time axis. There is a finding for each underlined layer.</p>"
        '<div class="scroll" role="region" tabindex="0" '
        'aria-label="State of each position after each layer">'
        '<table class="picture"><thead><tr><th scope="col">'
        f'<span class="unseen">layer</span></th>{columns}'
        f"</tr></thead><tbody>{rows}</tbody></table></div>"
        f'<ul class="legend" aria-label="Legend">{legend}</ul>'
    )


def _pictured(layer: Mapping[str, Any], longest: int, found: set[str]) -> str:
    states = layer["states"]
    if states:
        cells = "".join(f"<td>{_cell(state)}</td>" for state in states)
    else:
        state = "real" if layer["finite"] else "nonfinite"
        if state == "real" and layer.get("moved"):
            state = "moved"
        cells = f'<td colspan="{max(longest, 1)}">{_cell(state, "whole")}</td>'
    name = f'{escape(layer["path"])} <span class="kind">{escape(layer["kind"])}</span>'
    mark = ' class="found"' if layer["path"] in found else ""
    return f'<tr{mark}><th scope="row">{name}</th>{cells}</tr>'


def _cell(state: str, more: str = "") -> str:
    sign, meaning = _STATES[state]
    kinds = f"cell {state} {more}".strip()
    meaning = escape(meaning)
    return (
        f'<i class="{kinds}" role="img" title="{meaning}" aria-label="{meaning}">'
        f"{sign}</i>"
    )


def _masks(trace: Mapping[str, Any] | None) -> str:
    if not trace or not trace["rows"]:
        return ""
    rows = [
        (
            f"<code>{escape(row['path'])}</code>",
            escape(row["class"]),
            escape(", ".join(row["mask_in"])),
            escape(", ".join(row["used"])),
            escape(", ".join(row["mask_out"])),
            f"<b>{escape(', '.join(row['events']))}</b>",
        )
        for row in trace["rows"]
    ]
    headings = ("call", "class", "mask in", "used", "mask out", "what happened")
    return "<h2>What each layer does with the mask</h2>" + _table(headings, rows)


def _variants(padding: Mapping[str, Any] | None) -> str:
    if not padding or not padding.get("variants"):
        return ""
    rows = [
        (
            escape(said(name)),
            escape("" if variant["moved"] is None else _figure(variant["moved"])),
            escape(_figure(variant["noise"])),
            f"<b>{escape(variant['verdict'])}</b>",
            escape(variant["first"] or variant["why"] or ""),
        )
        for name, variant in padding["variants"].items()
    ]
    headings = ("padding", "answers moved by", "rounding alone", "verdict", "begins at")
    return "<h2>The same rows with other padding</h2>" + _table(headings, rows)


def _pad_outputs(padding: Mapping[str, Any] | None) -> str:
    outputs = (padding or {}).get("pad_outputs")
    if not outputs:
        return ""
    meanings = {
        "path": "the last output with a time axis",
        "padded_norm": "mean norm of a vector at a padded position",
        "real_norm": "mean norm of a vector at a real position",
        "by_position": "share of the padded vectors' variance that position explains",
        "by_sentence": "share of that variance that the row explains",
        "share_of_mean": "share of padding in a mean over time without a mask",
        "cosine": "cosine between the means with and without padding",
    }
    rows = [
        (escape(meaning), escape(_figure(outputs[name])))
        for name, meaning in meanings.items()
    ]
    return "<h2>What the outputs hold at padded positions</h2>" + _table((), rows)


def _looked_at(document: Mapping[str, Any]) -> str:
    rows = [
        (escape(name), severities(report["findings"]) or "nothing found")
        for name, report in document["checks"].items()
    ]
    rows += [("not looked at", escape(what)) for what in not_looked_at(document)]
    return "<h2>What was looked at</h2>" + _table((), rows)


def _table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in headings)
    head = f"<thead><tr>{head}</tr></thead>" if head else ""
    body = "".join(
        "<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows
    )
    return (
        '<div class="scroll" role="region" tabindex="0" aria-label="Table">'
        f"<table>{head}<tbody>{body}</tbody></table></div>"
    )
