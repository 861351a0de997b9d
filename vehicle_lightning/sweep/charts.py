"""The pictures of a search: which settings matter, and how the loss depends on each.

Sources:
    Hutter, Hoos and Leyton-Brown (2014), An efficient approach for assessing hyperparameter
    importance (functional ANOVA).
"""

import math
import warnings
from collections.abc import Sequence

import numpy as np
import optuna
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial

from vehicle_lightning.runs.plots import FAINT, GRID, INK, TRAIN, VAL, begin_figure, lay_out
from vehicle_lightning.sweep.space import Choice, Space, in_words

COLUMNS = 4  # panels side by side
FEWEST = 4  # trials to judge importance by


def plot_importance(study: optuna.Study, space: Space, trials: int, title: str) -> Figure | None:
    """Draw what share of the variance of the validation loss each setting explains (fANOVA).

    Settings that depend on others were not part of every trial and cannot be set beside the rest.

    Args:
        study: Optuna's, with the trials.
        space: what is searched.
        trials: how many have finished.
        title: stands above.

    Returns:
        The figure; None where there are too few trials, or all have the same loss.
    """
    names = [name for name, domain in space.domains.items() if not domain.when]
    if trials < FEWEST or not names:
        return None
    try:
        with warnings.catch_warnings(action="ignore"):  # it leaves out what is not finite
            shares = get_param_importances(
                study, evaluator=FanovaImportanceEvaluator(seed=0), params=names
            )
    except (RuntimeError, ValueError):  # no two losses differ
        return None
    figure = begin_figure(7, 1.4 + 0.34 * len(shares), f"{title}, share of the variance explained")
    lay_out(figure)
    axes = figure.add_subplot()
    _prepare(axes)
    ranked = sorted(shares.items(), key=lambda item: item[1])
    axes.barh([name for name, _ in ranked], [share for _, share in ranked], color=TRAIN, height=0.6)
    for position, (_, share) in enumerate(ranked):
        axes.text(
            share + 0.01, position, f"{100 * share:.0f} %", va="center", fontsize=8.5, color=INK
        )
    axes.set_xlim(0, 1.12 * max(shares.values()) + 0.03)
    axes.xaxis.set_major_formatter(lambda share, _: f"{100 * share:g} %")
    axes.grid(visible=False, axis="y")
    left_out = [name for name, domain in space.domains.items() if domain.when]
    axes.set_xlabel(
        f"n={trials} finished trials; a rough guide, from a random forest"
        + (f"\nwithout {', '.join(left_out)}, not part of every trial" if left_out else ""),
        fontsize=8.5,
        color=FAINT,
    )
    return figure


def plot_slices(
    space: Space, finished: Sequence[FrozenTrial], pruned: Sequence[FrozenTrial], title: str
) -> Figure:
    """Draw the validation loss over each setting, one dot a trial.

    Args:
        space: what is searched.
        finished: trials with a finite loss, the best first; at least one.
        pruned: trials that were ended early, drawn hollow at the last loss they reported.
        title: stands above.
    """
    pruned = [trial for trial in pruned if math.isfinite(_loss(trial))]
    columns = min(COLUMNS, len(space.domains))
    rows = -(-len(space.domains) // columns)
    figure = begin_figure(0.6 + 3 * columns, 1.1 + 2.4 * rows, title)
    lay_out(figure)
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
    losses = [_loss(trial) for trial in finished]
    # A trial that went wrong must not press the others flat.
    highest = float(np.median(losses) + 4 * (np.median(losses) - min(losses)) + 0.02)
    is_cut = max(_loss(trial) for trial in (*finished, *pruned)) > highest
    name_of_loss = f"validation loss{f', cut at {highest:.2g}' * is_cut}"
    for number, (name, domain) in enumerate(space.domains.items()):
        axes = panels.flat[number]
        _prepare(axes)
        axes.set_title(name, loc="left", fontsize=10, color=INK)
        if not isinstance(domain, Choice) and domain.log:
            axes.set_xscale("log")
        for trials, look in (
            (pruned, {"facecolors": "none", "edgecolors": FAINT, "label": "pruned"}),
            (finished[1:], {"color": TRAIN, "alpha": 0.7, "label": "finished"}),
            (finished[:1], {"color": VAL, "label": "best", "zorder": 3}),
        ):
            with_it = [trial for trial in trials if name in trial.params]
            axes.scatter(
                [_position(trial, name, domain) for trial in with_it],
                [min(_loss(trial), highest) for trial in with_it],
                s=26,
                linewidths=1,
                **look,
            )
        if isinstance(domain, Choice):
            labels = [in_words(value) for value in domain.values]
            axes.set_xticks(range(len(labels)), labels, fontsize=8, parse_math=False)
            axes.set_xlim(-0.6, len(labels) - 0.4)
        if number % columns == 0:
            axes.set_ylabel(name_of_loss, fontsize=8.5, color=FAINT)
    for axes in panels.flat[len(space.domains) :]:
        axes.set_visible(False)
    handles, names = panels.flat[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower left", ncols=3, frameon=False, fontsize=8.5)
    return figure


def _position(trial: FrozenTrial, name: str, domain: object) -> float:
    value = trial.params[name]
    if not isinstance(domain, Choice):
        return float(value)
    # Beside one another, by number, where many have the same value.
    return domain.labels.index(value) + 0.3 * (trial.number * 0.618 % 1 - 0.5)


def _loss(trial: FrozenTrial) -> float:
    return math.inf if trial.value is None else trial.value


def _prepare(axes: Axes) -> None:
    axes.tick_params(which="both", length=0, labelsize=8.5, labelcolor=INK)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)
