"""The look that the tutorials share; it needs matplotlib.

Nothing is said by colour alone: what is masked or broken is hatched too, and lines
differ in style. The colours are those of Okabe and Ito, which colour-blind readers can
tell apart. A figure 8 inches wide is 800 pixels wide.
"""

from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch, Rectangle

BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, YELLOW, BLACK = "#CC79A7", "#56B4E9", "#F0E442", "#000000"
GREY, PALE = "#9A9A9A", "#DDDDDD"
# For the bars of one chart, in this order, with the colours below.
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION)
HATCHES = ("", "///", "...", "xxx", "\\\\\\", "++")


class Kind(NamedTuple):
    """One thing that a tile can be."""

    label: str
    colour: str
    hatch: str = ""


REAL = Kind("real, finite", SKY)
MASKED = Kind("masked", PALE, "///")
BROKEN = Kind("NaN", VERMILION, "xxx")


def set_style() -> None:
    """Sets matplotlib's defaults for every figure that follows."""
    styles = ("-", "--", "-.", ":", (0, (6, 1, 1, 1)), (0, (1, 1)))
    plt.rcParams.update(
        {
            "figure.figsize": (8, 3.2),
            "figure.dpi": 100,
            "figure.constrained_layout.use": True,
            "font.size": 11,
            "axes.titlesize": 12,
            "axes.titlelocation": "left",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.prop_cycle": cycler(color=COLOURS) + cycler(linestyle=styles),
            "lines.linewidth": 2,
            "legend.frameon": False,
            "hatch.linewidth": 0.8,
            "image.cmap": "cividis",
        }
    )


def tiles(axes: Axes, states: np.ndarray, kinds: tuple[Kind, ...]) -> None:
    """Draws a grid of tiles: `kinds[states[i, j]]` in row `i` and column `j`.

    Args:
        axes: Where to draw. Ticks and labels are left to the caller.
        states: Integers of shape `(rows, columns)`.
        kinds: What the integers mean.
    """
    colours = ListedColormap([kind.colour for kind in kinds])
    axes.imshow(states, cmap=colours, vmin=-0.5, vmax=len(kinds) - 0.5, aspect="auto")
    for state, kind in enumerate(kinds):
        if kind.hatch:
            hatch(axes, states == state, kind.hatch)
    rows, columns = states.shape
    axes.set_xticks(np.arange(columns + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(rows + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)


def hatch(
    axes: Axes, where: np.ndarray, pattern: str = "///", colour: str = BLACK
) -> None:
    """Hatches the cells of an image for which `where`, of its shape, is True.

    Take white for `colour` where the image is dark.
    """
    look = {"fill": False, "hatch": pattern, "edgecolor": colour, "linewidth": 0}
    for row, column in np.argwhere(where):
        axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, **look))


def key(axes: Axes, kinds: tuple[Kind, ...]) -> None:
    """Explains the tiles, in one line below them."""
    patches = [
        Patch(facecolor=kind.colour, hatch=kind.hatch, label=kind.label)
        for kind in kinds
    ]
    axes.figure.legend(
        handles=patches, loc="outside lower center", ncols=len(kinds), handleheight=1.2
    )
