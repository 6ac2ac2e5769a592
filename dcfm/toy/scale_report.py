"""The scale study's table and picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from dcfm.artefacts import atomically

Record = Mapping[str, Any]


def own_share(record: Record, which: str) -> float | None:
    """The mean share of the silos whose own experts were sampled."""
    shares = record["recovery"].get("own_experts", {}).get("shares", [])
    return sum(s[which]["value"] for s in shares) / len(shares) if shares else None


def table(records: Sequence[Record]) -> str:
    """One line a simulation, as Markdown."""

    def cell(share: Mapping[str, float]) -> str:
        return f"{100 * share['value']:.1f} [{100 * share['low']:.1f}, {100 * share['high']:.1f}]"

    lines = [
        "| silos | peers a round | seed | models held | kB held | kB a silo | CPU s a silo | known, % | novel, % "
        "| novel before the round, % | novel, own and its peers' experts, % |",
        "|" + "---|" * 11,
    ]
    for r in records:
        taken = r["cpu_seconds_a_silo"]
        seconds = "" if taken is None else f"{taken:.2f}"
        after, before, own = r["recovery"]["all_experts"], r["recovery"]["stage_one"], own_share(r, "novel")
        lines.append(
            f"| {r['silos']} | {'all' if r['peers'] is None else r['peers']} | {r['seed']} | {r['models_held']} "
            f"| {r['bytes_held'] / 1000:.0f} | {r['bytes_a_silo'] / 1000:.0f} "
            f"| {seconds} "
            f"| {cell(after['known'])} | {cell(after['novel'])} | {cell(before['novel'])} "
            f"| {'' if own is None else f'{100 * own:.1f}'} |"
        )
    return "\n".join(lines) + "\n"


def draw(records: Sequence[Record], path: Path) -> None:
    """Bytes that a silo holds, CPU seconds of a silo, and novel recovery, against the number of silos."""
    figure = Figure(figsize=(11, 3.2), layout="constrained")
    axes = figure.subplots(1, 3)
    for i, peers in enumerate(dict.fromkeys(r["peers"] for r in records)):
        rows = sorted((r for r in records if r["peers"] == peers), key=lambda r: r["silos"])
        name = "all peers" if peers is None else f"{peers} peers a round"
        x = [r["silos"] for r in rows]
        axes[0].plot(x, [r["bytes_held"] / 1e6 for r in rows], f"C{i}o-", label=name, ms=4)
        timed = [r for r in rows if r["cpu_seconds_a_silo"] is not None]
        seconds = [r["cpu_seconds_a_silo"] for r in timed]
        axes[1].plot([r["silos"] for r in timed], seconds, f"C{i}o-", label=name, ms=4)
        novel = [r["recovery"]["all_experts"]["novel"] for r in rows]
        axes[2].plot(x, [n["value"] for n in novel], f"C{i}o-", label=name, ms=4)
        axes[2].vlines(x, [n["low"] for n in novel], [n["high"] for n in novel], color=f"C{i}", linewidth=1)
    before = sorted({(r["silos"], r["recovery"]["stage_one"]["novel"]["value"]) for r in records})
    axes[2].plot(*zip(*before, strict=True), "k:", label="before the round", linewidth=1)
    axes[0].set(ylabel="MB of models in a silo", yscale="log")
    axes[1].set(ylabel="CPU s of a silo, all rounds")
    axes[2].set(ylabel="share in the novel mode", ylim=(0, 1.02))
    for axis in axes:
        axis.set(xlabel="silos", xscale="log")
        axis.set_xscale("log", base=2)
    if any(r["cpu_seconds_a_silo"] is not None for r in records):  # a logarithmic axis of nothing cannot be drawn
        axes[1].set_yscale("log")
        axes[1].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))  # it spans about a decade: plain numbers, no powers
        axes[1].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes[1].yaxis.set_minor_formatter(NullFormatter())
    axes[2].legend(fontsize=8)
    with atomically(path) as temporary:
        figure.savefig(temporary, dpi=100)
