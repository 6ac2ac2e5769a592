"""Configurations: a folder under configs is a hydra group, and hydra takes a key of that name for the group."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

FOLDER = Path(__file__).parents[1] / "configs"
SCRIPTS = sorted(path.relative_to(FOLDER).with_suffix("").as_posix() for path in FOLDER.glob("*.yaml"))
SCRIPTS += sorted(path.relative_to(FOLDER).with_suffix("").as_posix() for path in FOLDER.glob("images/*.yaml"))
SCRIPTS += sorted(path.relative_to(FOLDER).with_suffix("").as_posix() for path in FOLDER.glob("xray/*.yaml"))


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_key_can_be_given_on_the_command_line(script: str) -> None:
    *inner, name = script.split("/")
    with initialize_config_module(".".join(["dcfm_configs", *inner]), version_base="1.3"):
        config = compose(name)
        for key in config:
            value = OmegaConf.to_container(config).get(key)  # type: ignore[union-attr]
            if isinstance(value, str | int | float | bool) and "${" not in str(value):
                assert compose(name, overrides=[f"{key}={value!r}"])[key] == config[key]


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_configuration_names_its_script(script: str) -> None:
    lines = (FOLDER / f"{script}.yaml").read_text().splitlines()
    assert lines[0].startswith("# ")
    assert f"scripts/{script}.py" in lines[0]


@pytest.mark.parametrize("study", ["communication", "idea", "many_silos"])
def test_a_study_trains_baselines_as_they_were_tuned(study: str) -> None:
    """As the toy does, but for how often silos talk, which studies set themselves."""
    with initialize_config_module("dcfm_configs", version_base="1.3"):
        toy, here = (OmegaConf.to_container(compose(name).tuned) for name in ("toy", study))
    assert isinstance(toy, dict)
    assert isinstance(here, dict)
    rounds = ("fedavg_rounds", "steps")
    for method, chosen in toy.items():
        for section, settings in chosen.items():
            told = settings.items() if isinstance(settings, dict) else ()
            for key, value in ((k, v) for k, v in told if k not in rounds):
                assert here[method][section][key] == value, (study, method)
