"""Configurations: a folder under configs is a hydra group, and hydra takes a key of that name for the group."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

FOLDER = Path(__file__).parents[1] / "configs"
SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_key_can_be_given_on_the_command_line(name: str) -> None:
    with initialize_config_module("dcfm_configs", version_base="1.3"):
        config = compose(name)
        for key in config:
            value = OmegaConf.to_container(config).get(key)  # type: ignore[union-attr]
            if isinstance(value, str | int | float | bool) and "${" not in str(value):
                assert compose(name, overrides=[f"{key}={value!r}"])[key] == config[key]


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_key_is_explained(name: str) -> None:
    lines = (FOLDER / f"{name}.yaml").read_text().splitlines()
    assert lines[0].startswith("# ")
    assert f"scripts/{name}.py" in lines[0]
