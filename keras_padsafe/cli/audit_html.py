"""The page of `audit`: one file, nothing loaded from elsewhere."""

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from keras_padsafe.cli.audit_view import not_looked_at, severities

_STATES: Mapping[str, tuple[str, str]] = {
    "real": ("", "a real position"),
    "masked": ("", "padding, hidden by the mask"),
    "unmasked": ("?", "padding that no mask hides any more"),
    "moved": ("!", "a real position that moves when padding changes"),
    "nonfinite": ("×", "NaN or infinity"),
}

_STYLE = """
:root { --ink: #1b1f24; --soft: #57606a; --line: #d0d7de; --page: #fff; --card: #f6f8fa;
  --real: #bcdcf5; --masked: #e3e6ea; --unmasked: #f6c667; --moved: #b58ad6;
  --nonfinite: #c0392b; --good: #1a7f37; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 68rem; padding: 2rem 1.5rem 4rem; color: var(--ink);
  background: var(--page); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
p { margin: .3rem 0; } .soft { color: var(--soft); }
code { font: .88em ui-monospace, monospace; overflow-wrap: anywhere; }
.verdict { display: inline-block; margin: .8rem 0 0; padding: .15rem .7rem;
  border-radius: 1rem; font-weight: 600; color: #fff; background: var(--nonfinite); }
.verdict.passed { background: var(--good); }
.finding { border: 1px solid var(--line); border-left: .4rem solid var(--nonfinite);
  border-radius: .4rem; padding: .7rem 1rem; margin: .7rem 0; background: var(--card); }
.finding.warning { border-left-color: #d29922; }
.finding.note { border-left-color: var(--soft); }
.finding h3 { font-size: 1rem; margin: 0 0 .2rem; }
.fix::before { content: "Fix: "; font-weight: 600; }
summary { cursor: pointer; color: var(--soft); font-size: .9rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; }
th { text-align: left; font-weight: 600; } th, td { padding: .2rem .7rem .2rem 0;
  vertical-align: top; } td:first-child { white-space: nowrap; }
tbody tr { border-top: 1px solid var(--line); }
.picture th, .picture td { padding: 0; border: 0; } .picture tbody tr { border: 0; }
.picture th { font: .82rem ui-monospace, monospace; padding-right: .8rem;
  white-space: nowrap; } .picture thead th { padding: 0; text-align: center;
  color: var(--soft); } .picture .kind { color: var(--soft); }
.picture tr.found th { text-decoration: underline; font-weight: 800; }
.cell { display: block; width: 1.5rem; height: 1.25rem; margin: 1px; text-align: center;
  border-radius: .15rem; font: 700 .85rem/1.25rem system-ui, sans-serif; }
.real { background: var(--real); } .unmasked { background: var(--unmasked); }
.masked { background: repeating-linear-gradient(45deg, var(--masked), var(--masked) 3px,
  #c3c9d0 3px, #c3c9d0 5px); }
.moved { background: var(--moved); color: #fff; }
.nonfinite { background: var(--nonfinite); color: #fff; }
.whole { width: auto; padding: 0 .5rem; }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; margin: .6rem 0 0;
  font-size: .9rem; } .legend span { display: flex; align-items: center; gap: .4rem; }
"""


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
    ]
    title = escape(f"Audit of {document['model']}")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head><body>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body></html>\n"
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
        f'<p class="verdict {mood}">{escape(verdict)}</p>'
    )


def _findings(findings: Iterable[Mapping[str, Any]]) -> str:
    cards = [
        f'<article class="finding {finding["severity"]}">'
        f"<h3>{escape(finding['code'])} {escape(finding['title'])} "
        f"<code>{escape(finding['place'])}</code></h3>"
        f"<p>{escape(_sentence(finding['message']))}</p>"
        f'<p class="fix">{escape(finding["fix"])}</p>'
        f"<details><summary>{escape(finding['severity'])}: the figures behind it"
        f"</summary>{_evidence(finding['evidence'])}</details></article>"
        for finding in findings
    ]
    return "<h2>Findings</h2>" + "".join(cards) if cards else ""


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


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
    columns = "".join(f"<th>{step}</th>" for step in range(longest))
    rows = "".join(_pictured(layer, longest, found) for layer in picture["layers"])
    legend = "".join(
        f'<span><i class="cell {state}">{sign}</i>{escape(meaning)}</span>'
        for state, (sign, meaning) in _STATES.items()
    )
    return (
        f"<h2>Row {picture['row']} of the batch, layer by layer</h2>"
        '<p class="soft">Each column is a position in time; a bar across is an output '
        "without a time axis. Underlined layers are named by a finding.</p>"
        f'<div class="scroll"><table class="picture"><thead><tr><th></th>{columns}'
        f"</tr></thead><tbody>{rows}</tbody></table></div>"
        f'<div class="legend">{legend}</div>'
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
    return f"<tr{mark}><th>{name}</th>{cells}</tr>"


def _cell(state: str, more: str = "") -> str:
    sign, meaning = _STATES[state]
    kinds = f"cell {state} {more}".strip()
    return f'<i class="{kinds}" title="{escape(meaning)}">{sign}</i>'


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
    return "<h2>The way of the masks</h2>" + _table(headings, rows)


def _variants(padding: Mapping[str, Any] | None) -> str:
    if not padding or not padding.get("variants"):
        return ""
    rows = [
        (
            escape(name),
            escape("" if variant["moved"] is None else _figure(variant["moved"])),
            escape(_figure(variant["noise"])),
            f"<b>{escape(variant['verdict'])}</b>",
            escape(variant["first"] or variant["why"] or ""),
        )
        for name, variant in padding["variants"].items()
    ]
    headings = ("padding", "answers moved by", "rounding alone", "", "begins at")
    return "<h2>The same question, padded otherwise</h2>" + _table(headings, rows)


def _pad_outputs(padding: Mapping[str, Any] | None) -> str:
    outputs = (padding or {}).get("pad_outputs")
    if not outputs:
        return ""
    meanings = {
        "path": "the last sequence of vectors",
        "padded_norm": "mean length of a vector at a padded position",
        "real_norm": "mean length at a real position",
        "by_position": "share of the padded vectors' variance that goes with position",
        "by_sentence": "share that goes with the row",
        "share_of_mean": "share of an unmasked mean over time that is padding",
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
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    head = f"<thead><tr>{head}</tr></thead>" if head else ""
    body = "".join(
        "<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f'<div class="scroll"><table>{head}<tbody>{body}</tbody></table></div>'
