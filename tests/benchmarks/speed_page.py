"""The page and the picture of what `python -m tests.benchmarks` measured."""

import os
import platform
import statistics
from pathlib import Path
from typing import Any

import keras

NAMES = {"jax": "JAX", "tensorflow": "TensorFlow", "torch": "PyTorch"}
WAYS = ("ours", "fused", "floor")
COLOURS = {"ours": "#2a6f97", "fused": "#b5b5b5", "floor": "#e0a030"}

HEAD = """# Speed beside stock Keras

How many times faster than stock Keras: the median of the rounds' ratios, then the least
and the greatest. All ways take turns in one process, and process time counts. Lengths
are uniform, the longest row is full, padding is on the right. The machine of the
committed figures had other work: spreads are wide.

- *ours*: the layer of this package; the encoder and the LSTM are in `RealTokens`.
- *fused*: the attention kernel of the backend, by `ops.dot_product_attention`.
- *floor*: stock Keras on a batch without padding that has as many real tokens.
- *compiling*: what the first step takes beyond a later one, beside that of stock.

`{command}` writes this page, [the figures](speed.json) and this picture:

![Times faster than stock Keras, by padding](speed.svg)

What stands between these figures and the floor, or stock:

- Encoder on JAX: 20 of the 32 rows are longer than half of the longest, so they take
  20 strips, and the floor has 17 rows. Before it is compiled, the stack is called on
  five rows drawn by chance, to see whether rows may share strips: 4 to 7 s, once for
  inference and once for training.
- Compiling: on JAX attention and such stacks have one size, and what lays out rows and
  puts them back is as many kernels again in inference, at about 15 ms each. Other
  stacks in `RealTokens`, and attention on TensorFlow with XLA, have four sizes, each a
  program of its own.
- Rows on JAX share a strip only if they fit in it: where all are longer than half of
  the longest, attention gains by its arithmetic alone, as at 0%.
- Losses: on PyTorch, and on TensorFlow without XLA, the real positions are taken out
  and compared alone. XLA needs shapes that are known, so padding is hidden there, and
  in a softmax everywhere: copies that XLA fuses. Squares on TensorFlow gain no more
  by hiding their gradient alone: 0.89 too.
- Recurrent layers: stacks with them are not cut. On PyTorch they run by its kernels.
"""


def machine() -> dict[str, str]:
    """Describes where a measurement was made."""
    backend = keras.backend.backend()
    version = __import__(backend).__version__
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [x for x in info.read_text().splitlines() if x.startswith("model name")]
        cpu = names[0].partition(":")[2].strip() if names else cpu
    return {
        "cpu": cpu,
        "cores": str(os.cpu_count()),
        "threads": os.environ.get("OMP_NUM_THREADS", "as many as cores"),
        "system": platform.system(),
        "python": platform.python_version(),
        "keras": keras.__version__,
        backend: version,
    }


def row_of(case: Any, spent: dict[str, Any], is_new: bool) -> dict[str, Any]:
    """Puts the times of a case into a row of the figures.

    Args:
        case: The case.
        spent: What `in_turns` gave.
        is_new: Whether nothing of it was compiled before.
    """
    stock = spent["stock"]
    compiles = is_new and keras.backend.backend() != "torch"
    ratios = {
        name: [a / b for a, b in zip(stock["times"], way["times"], strict=True)]
        for name, way in spent.items()
        if name != "stock"
    }
    return {
        "case": case.name,
        "padding": case.padding,
        "seconds": statistics.median(stock["times"]),
        **({"compiling": _beyond(spent["ours"]) / _beyond(stock)} if compiles else {}),
        **ratios,
    }


def told(row: dict[str, Any]) -> str:
    """One row of the table."""
    cells = [_spread(row[way]) if way in row else "" for way in WAYS]
    cells.append(f"{row['compiling']:.1f}" if "compiling" in row else "")
    cells.append(row["cpu"])
    return f"| {row['case']} | {row['padding']:.0%} | {' | '.join(cells)} |"


def _beyond(way: dict[str, Any]) -> float:
    """What the first step of a way takes beyond a later one, in seconds."""
    return max(way["first"] - statistics.median(way["times"]), 1e-3)


def _spread(ratios: list[float]) -> str:
    middle = statistics.median(ratios)
    return f"{middle:.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def write_page(found: dict[str, Any], folder: Path) -> None:
    """Writes `speed.md` and `speed.svg` from the figures."""
    lines = [HEAD.format(command="python -m tests.benchmarks")]
    for backend, part in found.items():
        sizes = part["sizes"]
        about = ", ".join(f"{k} {v}" for k, v in part["machine"].items())
        lines += [
            f"## {NAMES[backend]}\n",
            f"{sizes['rows']} rows of {sizes['steps']} tokens, {sizes['dim']} wide, "
            f"8 heads; {sizes['rounds']} rounds. Machine: {about}.\n",
            "| case | padding | ours | fused | floor | compiling, times stock | cpu |",
            "|---|---|---|---|---|---|---|",
            *[told(row) for row in part["rows"]],
            "",
        ]
        stock, ours = part["mask_bytes"]["stock"], part["mask_bytes"]["ours"]
        lines += [
            f"The mask of the scores, 32 rows of 4096 tokens: stock {stock:,} bytes, "
            f"ours {ours:,}.\n"
        ]
    (folder / "speed.md").write_text("\n".join(lines), encoding="utf-8")
    (folder / "speed.svg").write_text(_picture(found), encoding="utf-8")


def _picture(found: dict[str, Any]) -> str:
    """Bars: a column for each backend, a row for each case with several paddings."""
    bar, gap, label, width = 11, 10, 215, 250
    body: list[str] = []
    names = list(
        dict.fromkeys(
            (row["case"], row["padding"])
            for part in found.values()
            for row in part["rows"]
            if "floor" in row
        )
    )
    most = max(
        statistics.median(row[way])
        for part in found.values()
        for row in part["rows"]
        if "floor" in row
        for way in WAYS
        if way in row
    )
    unit = (width - 45) / most
    step = bar * len(WAYS) + gap
    for column, (backend, part) in enumerate(found.items()):
        left = label + column * width
        body.append(_text(left, 34, NAMES[backend], "bold"))
        rows = {(r["case"], r["padding"]): r for r in part["rows"]}
        for number, key in enumerate(names):
            top = 50 + number * step
            if column == 0:
                body.append(_text(8, top + 16, f"{key[0]}, {key[1]:.0%}"))
            for place, way in enumerate(WAYS):
                if way not in rows.get(key, {}):
                    continue
                value, y = statistics.median(rows[key][way]), top + place * bar
                body.append(
                    f'<rect x="{left}" y="{y}" width="{value * unit:.1f}" '
                    f'height="{bar - 2}" fill="{COLOURS[way]}"/>'
                )
                body.append(_text(left + value * unit + 3, y + 8, f"{value:.2f}"))
        x, end = left + unit, 50 + len(names) * step
        body.append(
            f'<path d="M{x:.1f} 42V{end}" stroke="#444" stroke-dasharray="2 2"/>'
        )
    for place, way in enumerate(WAYS):
        x = label + place * 80
        body.append(f'<rect x="{x}" y="8" width="9" height="9" fill="{COLOURS[way]}"/>')
        body.append(_text(x + 13, 16, way))
    body.append(_text(8, 16, "times faster than stock Keras"))
    wide, high = label + len(found) * width, 60 + len(names) * step
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{high}" '
        'font-family="sans-serif" font-size="10">'
        f'<rect width="{wide}" height="{high}" fill="white"/>{"".join(body)}</svg>\n'
    )


def _text(x: float, y: float, said: str, weight: str = "normal") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-weight="{weight}">{said}</text>'
