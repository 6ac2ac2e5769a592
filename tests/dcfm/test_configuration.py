"""dcfm/configuration.py: types of a script's keys, a folder that can be written to, help, and how scripts end."""

import errno
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from omegaconf import DictConfig

from dcfm import configuration, jobs
from dcfm.configuration import check_overrides, check_same_settings, help_text, one_line_errors, script, typed, writable
from dcfm.trainers.loop import TrainingError


@dataclass
class Keys:
    """Of an imagined script."""

    number: int
    maybe: float | None


def test_types_are_checked_and_names_must_exist() -> None:
    assert typed(DictConfig({"number": 3, "maybe": None}), Keys, "mine") == Keys(3, None)
    with pytest.raises(ValueError, match=r"number\); see configs/mine.yaml"):
        typed(DictConfig({"number": "three", "maybe": 1.0}), Keys, "mine")
    with pytest.raises(ValueError, match="other"):
        typed(DictConfig({"number": 3, "maybe": 1.0, "other": 1}), Keys, "mine")
    with pytest.raises(ValueError, match=r"^number= is missing; give number=VALUE, see configs/mine\.yaml$"):
        typed(DictConfig({"maybe": 1.0}), Keys, "mine")


def test_what_hydra_cannot_read_is_shown_with_the_form_that_it_takes() -> None:
    with pytest.raises(ValueError, match=r"^cannot read 'noniid'; give key=value; --help lists"):
        check_overrides("toy", ["noniid"])
    with pytest.raises(
        ValueError, match=r"""^cannot read 'methods=a=b'; give key=value, lists in .*'k=\["a=1"\]'; --help"""
    ):
        check_overrides("toy", ["methods=a=b"])


@dataclass
class Lists:
    """Of another one."""

    folders: list[str]
    out: str | None


def test_a_list_is_asked_for_in_words_and_nothing_is_no_name() -> None:
    with pytest.raises(ValueError, match=r"folders=runs/a: give a list, quoted: 'folders=\[runs/a\]'"):
        typed(DictConfig({"folders": "runs/a", "out": None}), Lists, "mine")
    with pytest.raises(ValueError, match="out= is empty"):
        typed(DictConfig({"folders": [], "out": ""}), Lists, "mine")


def test_results_of_other_settings_are_not_replaced(tmp_path: Path) -> None:
    """Where anything is: how they are computed may differ, and what lies there may lack younger keys."""
    config = DictConfig({"trials": 50, "rule": None, "guidance": [1.5, 1.5], "workers": 2, "out": str(tmp_path)})
    check_same_settings(tmp_path, config)
    (tmp_path / "config.yaml").write_text("trials: 300\nguidance: [1.5, 1.5]\nworkers: 1\nout: elsewhere\n")
    check_same_settings(tmp_path, config)  # interrupted: no results
    (tmp_path / "metrics.json").write_text("{}")
    with pytest.raises(ValueError, match=r"\(trials=300 there, 50 now\); choose another out="):
        check_same_settings(tmp_path, config)
    check_same_settings(tmp_path, DictConfig({**config, "trials": 300}))
    (tmp_path / "config.yaml").write_text("trials: [")
    with pytest.raises(ValueError, match=r"config\.yaml is damaged"):
        check_same_settings(tmp_path, config)


def test_results_of_other_weights_are_not_replaced(tmp_path: Path) -> None:
    metrics = tmp_path / "metrics.json"
    config = DictConfig({"trials": 3})
    for content in (f'{{"weights_sha256": "{"a" * 64}"}}', "{}"):  # older ones do not say it
        metrics.write_text(content)
        check_same_settings(tmp_path, config, weights="a" * 64)
    metrics.write_text(f'{{"weights_sha256": "{"b" * 64}"}}')
    with pytest.raises(ValueError, match=r"other weights \(b{12}\.\.\. there, a{12}\.\.\. now\); choose another out="):
        check_same_settings(tmp_path, config, weights="a" * 64)
    for content in ("", "[]"):
        metrics.write_text(content)
        with pytest.raises(ValueError, match=r"metrics\.json is damaged .* choose another out="):
            check_same_settings(tmp_path, config, weights="a" * 64)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    assert writable(tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ValueError, match="choose another out="):
            writable(path)


@pytest.mark.parametrize(
    ("error", "said", "status"),
    [
        (ValueError("steps=0: give 1"), "error: steps=0: give 1", 2),
        (OSError(errno.ENOSPC, "full"), f"error: [Errno {errno.ENOSPC}] full; make room or choose another out=", 1),
        (OSError(errno.EACCES, "denied", "a"), f"error: [Errno {errno.EACCES}] denied: 'a'", 1),
        (OSError("no such model"), "error: no such model", 1),
        (TrainingError("the loss is nan"), "error: the loss is nan", 1),
        (KeyboardInterrupt(), "interrupted; nothing was written", 130),
    ],
)
def test_what_a_user_can_mend_is_one_line(
    error: BaseException, said: str, status: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(configuration, "OWN", ("tests",))
    with pytest.raises(SystemExit) as ended, one_line_errors("nothing was written"):
        raise error
    assert ended.value.code == status
    assert capsys.readouterr().err == said + "\n"


def _unpack(_: int) -> None:
    a, b, c = (1, 2)  # type: ignore[misc]
    print(a, b, c)


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_mistake_in_other_people_s_code_says_where_it_is(
    elsewhere: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process and in a worker's, whose error comes with a traceback that is text."""

    def fail() -> None:
        with pytest.raises(SystemExit) as ended, one_line_errors(""), jobs.pool(int(elsewhere)) as run:
            run(_unpack, [0])
        assert ended.value.code == 2

    fail()
    line = _unpack.__code__.co_firstlineno + 1
    said = rf"error: not enough values to unpack .* \(raised in {__file__}, line {line}; DCFM_TRACEBACK=1 .*\)\n"
    assert re.fullmatch(said, capsys.readouterr().err)
    monkeypatch.setenv("DCFM_TRACEBACK", "1")
    fail()
    whole = capsys.readouterr().err
    assert whole.startswith("Traceback") or "_RemoteTraceback" in whole.splitlines()[0]
    assert "a, b, c = (1, 2)" in whole
    assert re.fullmatch(said, whole.splitlines()[-1] + "\n")


def test_a_reader_that_goes_is_no_error_of_ours() -> None:
    """As in ``script | head -1``."""
    code = "from dcfm.configuration import one_line_errors\nwith one_line_errors('x'):\n    print('line\\n' * 10**6)"
    command = f"{shlex.quote(sys.executable)} -c {shlex.quote(code)} | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True, timeout=200)
    assert (done.stdout, done.stderr) == ("line\n", "")


def test_what_a_user_cannot_mend_is_not_hidden() -> None:
    with pytest.raises(RuntimeError, match="a bug"), one_line_errors("nothing was written"):
        raise RuntimeError("a bug")


seen: list[DictConfig] = []


@script("cost", "nothing was written")
def main(config: DictConfig) -> None:
    seen.append(config)
    if config.seed < 0:
        raise ValueError(f"seed={config.seed}; give at least 0")


def run(monkeypatch: pytest.MonkeyPatch, *given: str) -> int:
    monkeypatch.setattr(sys, "argv", ["cost.py", *given])
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def test_a_script_gets_what_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "seed=3") == 0
    assert seen[-1].seed == 3


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("sedd=3", "there is no key 'sedd'; did you mean 'seed'"),
        ("zzz=3", "there is no key 'zzz'; --help"),
        ("silos=[", "--help lists the keys"),
        ("seed=-1", "seed=-1; give at least 0"),
        ("training.stepz=3", "there is no key 'training.stepz', since there is no 'training'"),
    ],
)
def test_a_wrong_key_or_value_is_one_line_and_status_2(
    given: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, given) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert said in line


@pytest.mark.parametrize(
    ("config", "given", "said"),
    [
        ("toy", "training.student.step=3", "did you mean 'training.student.steps'?"),
        ("toy", "method_settings={dfd:{scale:1.0}}", "'+method_settings.NAME=VALUE'"),
        ("train_planner", "stage_one.lop.steps=3", "no key 'stage_one.lop.steps', since there is no 'stage_one.lop'"),
        (
            "images/train",
            "fedavg.objective.independence.weight=5",
            "fedavg.objective is stage_one.objective, so fedavg.objective.independence.weight is no setting of its "
            "own; give stage_one.objective.independence.weight, which is for both",
        ),
    ],
)
def test_a_wrong_key_within_others(config: str, given: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        check_overrides(config, [given])
    check_overrides("toy", ["+method_settings.dfd.scale=1.0"])


@pytest.mark.parametrize("given", [["--config-dir", "nowhere"], ["-m", "sedd=0,1"]])
def test_wrong_options_of_hydra_are_one_line_too(
    given: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)  # a sweep makes its folder where it is started
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    assert run(monkeypatch, *given) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert "HYDRA_FULL_ERROR" not in line


def test_help_says_purpose_keys_groups_and_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "seed=3", "--help") == 0
    shown = capsys.readouterr().out
    assert shown.startswith("dcfm/configuration.py:")  # this module's docstring
    assert "\nseed: 0              # of data and trainings" in shown
    assert "hydra" not in shown
    assert "130 Ctrl-C.\n" in shown
    assert shown.endswith("shows where an error comes from.\n")
    assert "  preset=quick  (full, " in help_text("", "train_planner")
    assert "keys under training." in help_text("", "toy")
    assert "  and the keys of configs/images/train.yaml" in help_text("", "images/benchmark")
    assert "keys explained in configs/federated/task/*.yaml" in help_text("", "federate")
