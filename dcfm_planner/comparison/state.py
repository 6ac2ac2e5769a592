"""What is there of an entry already, held against what is asked for."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from dcfm import records as dcfm_records
from dcfm.artefacts import file_hash
from dcfm.comparison import ComparisonError, Entry
from dcfm.methods import registry
from dcfm.records import METHOD
from dcfm_planner.comparison import records
from dcfm_planner.comparison.sampling import CANDIDATES, candidates
from dcfm_planner.comparison.settings import CONTROLS, ComparisonSettings, provenance
from dcfm_planner.evaluation import problems
from dcfm_planner.models import Sampling


@dataclass(frozen=True)
class State:
    """What is there of an entry.

    Attributes:
        entry: which.
        trained: the planner is at hand.
        provenance: of the planner, see :func:`~dcfm_planner.comparison.settings.provenance`; where it is not at hand,
            of the one that the results were made with; ``None`` if there is neither.
        selection: the record of its selection, or ``None``.
        evaluations: records by protocol, of those that are done.
    """

    entry: Entry
    trained: bool
    provenance: Mapping[str, Any] | None
    selection: Mapping[str, Any] | None
    evaluations: Mapping[str, Mapping[str, Any]]

    @property
    def weights_hash(self) -> str | None:
        """Of the planner."""
        return None if self.provenance is None else self.provenance["weights_sha256"]

    @property
    def recipe(self) -> Mapping[str, Any] | None:
        """The settings that it was trained with; ``None`` where no record has them."""
        return None if self.provenance is None else self.provenance.get("recipe")

    @property
    def chosen(self) -> str | None:
        """The name of the sampling that was selected."""
        return None if self.selection is None else self.selection["chosen"]

    @property
    def sampling(self) -> Sampling | None:
        """The sampling that was selected."""
        return None if self.chosen is None else CANDIDATES[self.chosen]


def selection_asked(settings: ComparisonSettings, method: str, weights_hash: str) -> dict[str, Any]:
    """What a selection must have been asked for to be this one."""
    return {
        "weights_sha256": weights_hash,
        METHOD: registry.own_settings(method),
        "seed": settings.selection_seed,
        "plans_per_pair": settings.selection_plans,
        "candidates": {name: asdict(sampling) for name, sampling in candidates(settings.rules).items()},
    }


def evaluation_asked(
    settings: ComparisonSettings, method: str, protocol: str, weights_hash: str, sampling: Sampling
) -> dict[str, Any]:
    """What an evaluation must have been asked for to be this one."""
    given = Path(problems.__file__).parent / problems.GIVEN_FILE
    return {
        "weights_sha256": weights_hash,
        METHOD: registry.own_settings(method),
        "sampling": asdict(sampling),
        "protocol": protocol,
        "trials": settings.trials_of(protocol),
        "seed": settings.seed,
        "controls": list(CONTROLS[protocol]),
        "max_steps": settings.max_steps,
        "problems_sha256": file_hash(given) if protocol == "given" else None,
    }


def look(settings: ComparisonSettings, entry: Entry) -> State:
    """See what is there. With ``settings.redo`` what does not match counts as not there.

    Raises:
        ComparisonError: results are there, but were made with other weights or settings, or are damaged.
        dcfm.artefacts.ArtefactError: the trained planner is damaged.
    """
    folder = entry.results(settings.out)
    made_with = provenance(entry, settings.runs)
    trained = made_with is not None
    selection = dcfm_records.read(folder / records.SELECTION_RECORD)
    if made_with is None and selection is not None:
        made_with = selection.get("provenance")
    state = State(entry, trained, made_with, None, {})
    if selection is not None:
        asked = selection_asked(settings, entry.method, state.weights_hash or "none")
        wrong = dcfm_records.differences(asked, selection["asked"])
        if wrong or selection.get("chosen") not in CANDIDATES:
            selection = _mismatch(settings, folder / records.SELECTION_RECORD, wrong)
    state = replace(state, selection=selection)
    evaluations: dict[str, Mapping[str, Any]] = {}
    for protocol in settings.protocols:
        path = folder / protocol / records.RECORD
        found = dcfm_records.read(path)
        if found is None:
            continue
        if state.sampling is None or state.weights_hash is None:
            wrong = ["there is no selection that it was made after"]
        else:
            asked = evaluation_asked(settings, entry.method, protocol, state.weights_hash, state.sampling)
            wrong = dcfm_records.differences(asked, found["asked"])
        if wrong:
            _mismatch(settings, path, wrong)
        else:
            evaluations[protocol] = found
    return replace(state, evaluations=evaluations)


def look_at_all(settings: ComparisonSettings) -> list[State]:
    """The state of every entry.

    Raises:
        ComparisonError: one text for all entries that do not match.
    """
    states, errors = [], []
    for entry in settings.entries():
        try:
            states.append(look(settings, entry))
        except ValueError as error:
            errors.append(str(error))
    if errors:
        raise ComparisonError("\n  ".join([f"{len(errors)} entries do not match:", *errors]))
    return states


def _mismatch(settings: ComparisonSettings, record: Path, wrong: list[str]) -> None:
    """Nothing where results are to be made again, an error else."""
    if not settings.redo:
        raise ComparisonError(
            f"{record.parent} was made otherwise ({'; '.join(wrong) or 'unknown sampling'}); give redo=true to make it "
            f"again, the settings that it was made with, another out=, or another runs= than {settings.runs}, whose "
            "planners these results may not be of"
        )
