"""Results on disk as a comparison leaves them, made in milliseconds: trials with outcomes that are given."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from dcfm.artefacts import write_text_atomically
from dcfm.comparison import Entry
from dcfm.records import finish
from dcfm_planner.comparison import records
from dcfm_planner.comparison.sampling import CANDIDATES
from dcfm_planner.comparison.settings import CONTROLS, ComparisonSettings
from dcfm_planner.comparison.state import evaluation_asked, selection_asked
from dcfm_planner.evaluation.problems import CELLS, make_problems, pair_kind
from dcfm_planner.evaluation.report import metrics, trials_csv
from dcfm_planner.evaluation.run import Results
from dcfm_planner.evaluation.trials import PLANNER_ARM, Timing, Trial
from dcfm_planner.models import shipped_name, weights_folder
from dcfm_planner.quadrants import QUADRANTS

TRIALS = 12

Write = Callable[..., None]


@pytest.fixture
def settings(tmp_path: Path) -> ComparisonSettings:
    return ComparisonSettings(
        methods=("ddm_l", "dcfm_a", "dcfm_b", "pooled"),
        partitions=("noniid",),
        trials=TRIALS,
        runs=tmp_path / "runs",
        out=tmp_path / "out",
        train=False,
        device="cpu",
        workers=0,
    )


def outcome(arm: str, cell: str, index: int, labels: Sequence[int], seed: int, success: bool, at_start: bool) -> Trial:
    source, target = labels
    return Trial(
        arm=arm,
        cell=cell,
        index=index,
        source=QUADRANTS[source],
        target=QUADRANTS[target],
        kind=pair_kind(source, target),
        noise_seed=seed,
        feasible=success or at_start,
        reasons=() if success or at_start else ("the cube starts in BR; TL was asked for",),
        at_start=at_start,
        reached=success,
        success=success,
    )


@pytest.fixture
def write() -> Write:
    """Write one entry's results: which problems succeed is given by (arm, known or novel), the others fail."""

    def write_entry(
        settings: ComparisonSettings,
        entry: Entry,
        successes: dict[tuple[str, str], Sequence[int]],
        *,
        at_start: Sequence[int] = (),
        weights_hash: str = "a" * 64,
        data_hash: str = "data",
        protocols: Sequence[str] | None = None,
    ) -> None:
        folder = entry.results(settings.out)
        name = "joint"
        write_text_atomically(folder / records.SELECTION, json.dumps({"chosen": name}))
        kept = {
            "chosen": name,
            "provenance": {"weights_sha256": weights_hash, "data_sha256": data_hash, "recipe_sha256": "recipe"},
        }
        asked = selection_asked(settings, entry.method, weights_hash)
        finish(folder / records.SELECTION_RECORD, asked, [records.SELECTION], kept)
        for protocol in settings.protocols if protocols is None else protocols:
            evaluation = settings.evaluation("weights", protocol, CANDIDATES[name])
            problems = make_problems(protocol, settings.trials_of(protocol), settings.seed)
            trials = [
                outcome(
                    arm,
                    cell,
                    i,
                    problems[cell].labels[i].tolist(),
                    int(problems[cell].noise_seed[i]),
                    i in successes.get((arm, cell), ()),
                    arm == PLANNER_ARM and cell == "known" and i in at_start,
                )
                for cell in CELLS
                for arm in (PLANNER_ARM, *CONTROLS[protocol])
                for i in range(settings.trials_of(protocol))
            ]
            results = Results(evaluation, entry.method, entry.partition, {}, weights_hash, trials, Timing(), 1.0, 0)
            place = folder / protocol
            write_text_atomically(place / records.METRICS, json.dumps(metrics(results, "python made up")))
            write_text_atomically(place / records.TRIALS, trials_csv(trials))
            asked = evaluation_asked(settings, entry.method, protocol, weights_hash, CANDIDATES[name])
            finish(place / records.RECORD, asked, [records.METRICS, records.TRIALS])

    return write_entry


@pytest.fixture
def shipped() -> Callable[[ComparisonSettings, Entry], None]:
    """Put a shipped planner where its training would have left it."""

    def copy(settings: ComparisonSettings, entry: Entry) -> None:
        shutil.copytree(weights_folder() / shipped_name(entry.partition, entry.method), entry.published(settings.runs))

    return copy
