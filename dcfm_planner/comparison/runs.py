"""Doing what is missing, entry by entry: train, choose how to sample, evaluate under each protocol.

Every step leaves its result on disk when it is done, so an interrupted comparison goes on where it was; an entry that
fails leaves all others alone.
"""

from dataclasses import asdict

import yaml

from dcfm import records as dcfm_records
from dcfm.comparison import ComparisonError, Entry, attempt
from dcfm.curves import Watch
from dcfm.progress import StageProgress, silent
from dcfm_planner.comparison import records
from dcfm_planner.comparison.recipe import config_of
from dcfm_planner.comparison.sampling import choose
from dcfm_planner.comparison.settings import ComparisonSettings
from dcfm_planner.comparison.state import State, evaluation_asked, look, look_at_all, selection_asked
from dcfm_planner.evaluation.report import write_report
from dcfm_planner.evaluation.run import evaluate
from dcfm_planner.progress import collection_bar
from dcfm_planner.training import train as train_planner


def run(settings: ComparisonSettings, command: str, on_progress: StageProgress = silent) -> dict[Entry, str]:
    """Do what is missing of a comparison, as far as ``settings`` allow.

    Args:
        settings: what to compare.
        command: that is run, for the record.
        on_progress: see :data:`~dcfm.progress.StageProgress`.

    Returns:
        What went wrong, by entry; the others are done.

    Raises:
        ComparisonError: results that are there do not match what is asked for, or are of planners that are not there
            and would be trained again; before any work.
    """
    failed: dict[Entry, str] = {}
    waiting = [state for state in look_at_all(settings) if _work(settings, state)]
    others = [str(s.entry) for s in waiting if not s.trained and s.selection is not None and not settings.redo]
    if others:  # after hours of training most likely an error
        raise ComparisonError(
            f"{settings.out} has results of {', '.join(others)}, whose planners are not in runs={settings.runs}, and a "
            "new training makes others; give train=false, another out=, or redo=true, which evaluates anew what "
            "the new training does not match"
        )
    for state in waiting:
        if not state.trained or state.recipe is not None:  # the table holds recipes against the overrides
            config_of(settings, state.entry)  # an override that cannot be is an error now
    chosen = waiting[: settings.max_entries]
    for number, state in enumerate(chosen, start=1):
        place = f"[{number}/{len(chosen)}] "
        attempt(
            state.entry,
            lambda state=state, place=place: _complete(
                settings, state, command, lambda what, *much: on_progress(place + what, *much)
            ),
            failed,
        )
    return failed


def _work(settings: ComparisonSettings, state: State) -> bool:
    """Whether there is something to do that the settings allow."""
    if set(state.evaluations) == set(settings.protocols):
        return False
    return (settings.train and not state.trained) or (settings.evaluate and state.trained)


def _complete(settings: ComparisonSettings, state: State, command: str, on_progress: StageProgress) -> None:
    entry = state.entry
    if not state.trained:
        on_progress(f"{entry}: training", 0, 0)
        train(settings, entry)
        state = look(settings, entry)
        if not state.trained:
            raise ComparisonError(f"training {entry} left no planner in {entry.published(settings.runs)}")
    if not settings.evaluate:
        return
    with dcfm_records.alone_in(entry.results(settings.out)):
        state = look(settings, entry)  # what another process did while this one waited
        if state.selection is None:
            _select(settings, state, on_progress)
            state = look(settings, entry)
        for protocol in settings.protocols:
            if protocol not in state.evaluations:
                _evaluate(settings, state, protocol, command, on_progress)


def train(settings: ComparisonSettings, entry: Entry) -> None:
    """Train one entry with the settings of ``configs/train_planner.yaml`` and the given overrides."""
    config = config_of(settings, entry)
    watch = Watch.of(config)
    train_planner(config, progress=watch, collecting=collection_bar)


def _select(settings: ComparisonSettings, state: State, on_progress: StageProgress) -> None:
    assert state.weights_hash is not None
    folder = state.entry.results(settings.out)
    folder.mkdir(parents=True, exist_ok=True)
    dcfm_records.begin(folder / records.SELECTION_RECORD)
    selection = choose(
        state.entry.published(settings.runs),
        plans=settings.selection_plans,
        seed=settings.selection_seed,
        device=settings.device,
        rules=settings.rules,
        on_candidate=lambda done, total: on_progress(f"{state.entry}: choosing how to sample", done, total),
    )
    selection.to_json(folder / records.SELECTION)
    asked = selection_asked(settings, state.entry.method, state.weights_hash)
    kept = {"chosen": selection.chosen, "provenance": state.provenance}
    dcfm_records.finish(folder / records.SELECTION_RECORD, asked, [records.SELECTION], kept)


def _evaluate(
    settings: ComparisonSettings, state: State, protocol: str, command: str, on_progress: StageProgress
) -> None:
    assert state.weights_hash is not None
    assert state.sampling is not None
    asked = evaluation_asked(settings, state.entry.method, protocol, state.weights_hash, state.sampling)
    folder = state.entry.results(settings.out) / protocol
    asked_for = settings.evaluation(str(state.entry.published(settings.runs)), protocol, state.sampling)
    dcfm_records.begin(folder / records.RECORD)
    results = evaluate(asked_for, lambda done, total: on_progress(f"{state.entry}: protocol {protocol}", done, total))
    if results.weights_hash != state.weights_hash:
        raise ComparisonError(f"the weights of {state.entry} changed while they were evaluated; run it again")
    config = yaml.safe_dump({"protocol": protocol, **asdict(asked_for)}, sort_keys=False)
    write_report(results, folder, command, config)
    dcfm_records.finish(folder / records.RECORD, asked, [records.METRICS, records.TRIALS])
