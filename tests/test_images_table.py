"""scripts/images/table.py: settings checked, a table of nothing made."""

import json
from pathlib import Path
from types import ModuleType

import pytest
from hydra import compose, initialize_config_module

from dcfm_images.report import FILES
from tests.commands import script_module


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return script_module("scripts/images/table.py")


def test_a_table_of_nothing_is_refused_and_one_of_something_made(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where a folder is misspelt, say; what is there of one method shows beside others that were not run."""
    overrides = [f"runs={tmp_path}", "train=false", "evaluate=false", "methods=[dcfm_b]", "device=cpu"]
    with initialize_config_module("dcfm_configs.images", version_base="1.3"):
        with pytest.raises(
            ValueError, match=r"holds no training and out=.* no result of iid/seed0/dcfm_b, noniid/seed0"
        ):
            script.run(compose("table", overrides=overrides))
        assert not list(tmp_path.iterdir())
        (tmp_path / "results/iid/seed0/dcfm_b").mkdir(parents=True)
        script.run(compose("table", overrides=overrides))
    printed = capsys.readouterr().out
    assert "| DCFM-B | not run | not run |" in printed
    assert {path.name for path in (tmp_path / "results").iterdir() if path.is_file()} == set(FILES)
    table = json.loads((tmp_path / "results" / "table.json").read_text())
    assert [part["partition"] for part in table["tables"]] == ["iid", "noniid"]


def test_every_key_is_given_on(script: ModuleType) -> None:
    with initialize_config_module("dcfm_configs.images", version_base="1.3"):
        settings = script.read_settings(compose("table", overrides=["each=7", "curve=[4,8]", "folder=data/own"]))
    assert (settings.evaluation.each, settings.evaluation.curve, settings.folder) == (7, (4, 8), Path("data/own"))
    assert settings.out == Path("runs/images/table/results")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("methods=[dcfm_c]", "unknown methods 'dcfm_c'"),
        ("each=many", r"see configs/images/table\.yaml"),
        ("features=vgg", "there are digits"),
        ("selection_seed=0", "two different seeds"),
    ],
)
def test_bad_values(script: ModuleType, override: str, message: str) -> None:
    with (
        initialize_config_module("dcfm_configs.images", version_base="1.3"),
        pytest.raises(ValueError, match=message),
    ):
        script.read_settings(compose("table", overrides=[override]))
