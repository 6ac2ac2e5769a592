"""The control: digits of silos, none of the reference, in each cell's own combinations, judged like generated ones."""

from dataclasses import replace
from pathlib import Path

import torch

from dcfm_images.control import evaluate_real, silo_digits
from dcfm_images.evaluation_settings import EvaluationSettings
from dcfm_images.features import feature_space
from dcfm_images.judging import Judge
from dcfm_images.pictures import colour_digits
from dcfm_images.reader import load_reader
from dcfm_images.results import read_pictures
from tests.dcfm_images.evaluation.conftest import Trained


def test_digits_of_silos_are_judged_against_the_reference(
    trained: Trained, quick: EvaluationSettings, tmp_path: Path
) -> None:
    problem, loaded, settings = trained.problem, load_reader(), replace(quick, seed=2)
    found = evaluate_real(problem, loaded, tmp_path, settings, command="a command")
    pool, space, kept = silo_digits(problem), feature_space("digits", loaded), read_pictures(tmp_path)
    assert len(pool) == sum(len(silo) for silo in problem.silos)
    for cell, combinations in (("known", problem.known), ("novel", problem.novel)):
        reference = colour_digits(problem.reference, combinations, 4, seed=2)
        made = colour_digits(pool, combinations, 4, seed=3)  # other noise than the reference's
        assert found[cell] == Judge(space, loaded.reader, {cell: reference}, 5, 2).judge(made, cell)
        assert found[cell]["fid"]["value"] > 0
        for i, (digit, colour) in enumerate(combinations.tolist()):
            assert torch.equal(torch.from_numpy(kept[digit, colour]), made.images[4 * i : 4 * i + 4])
    held = torch.cat([silo.data for silo in problem.silos]).flatten(1)
    assert not (problem.reference.images.flatten(1)[:, None] == held).all(-1).any()
    labels = torch.cat([silo.labels[:, 0] for silo in problem.silos])
    assert torch.equal(pool.images.flatten(1), held)
    assert torch.equal(pool.labels, labels)
