"""Every script explains itself, and every command that its help or the documentation gives can be composed."""

import ast
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dcfm.configuration import check_overrides, help_text

REPOSITORY = Path(__file__).parents[1]
SCRIPTS = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for pattern in ("scripts/*.py", "scripts/*/*.py")
    for path in REPOSITORY.glob(pattern)
)
PAGES = sorted(
    path.relative_to(REPOSITORY).as_posix() for path in [REPOSITORY / "README.md", *REPOSITORY.glob("docs/*.md")]
)


def parsed(script: str) -> tuple[str, str]:
    """A script's docstring, and the name of its configuration."""
    tree = ast.parse((REPOSITORY / script).read_text())
    (main,) = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "main")
    (decorator,) = main.decorator_list
    assert isinstance(decorator, ast.Call)
    assert ast.unparse(decorator.func) == "script", f"{script}: use @dcfm.configuration.script"
    return ast.get_docstring(tree) or "", ast.literal_eval(decorator.args[0])


def commands(text: str) -> list[list[str]]:
    """The words of the lines that call a script with complete arguments."""
    lines = re.findall(r"^(?:    )?(python scripts/[^\n#]*[^\n#\\\s])(?:\s+#.*)?$", text, flags=re.MULTILINE)
    return [shlex.split(line)[1:] for line in lines]


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_gives_purpose_examples_and_the_meaning_of_each_key(script: str) -> None:
    purpose, config = parsed(script)
    assert re.match(r"[A-Z][^\n]*[.]\n", purpose), "a line that says what it is for"
    examples = commands(purpose)
    assert examples
    for name, *overrides in examples:
        assert name == script
        check_overrides(config, overrides)
    shown = help_text(purpose, config)
    keys = shown.split("where there is a list: 'key=[a,b]'\n\n")[1].split("\n--cfg job")[0].split("\nGroups; ")[0]
    lines = keys.splitlines()
    for number, line in enumerate(lines):
        if re.match("[A-Za-z_]", line):
            assert " #" in line or lines[number - 1].startswith("# "), f"{script}: no meaning of {line}"


@pytest.mark.parametrize("page", PAGES)
def test_commands_of_the_documentation_can_be_composed(page: str) -> None:
    for script, *overrides in commands((REPOSITORY / page).read_text()):
        if not any(word.startswith("-") for word in overrides):  # hydra's own flags, such as a sweep
            check_overrides(parsed(script)[1], [word for word in overrides if word != "..."])


def test_commands_of_make_reproduce_can_be_composed() -> None:
    command = ["make", "--dry-run", "--no-print-directory", "reproduce", "REPRODUCE=/tmp/none"]
    shown = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    found = re.findall(r"python (scripts/\S+) ([^\n]*)", shown.replace("\\\n", " "))
    assert len(found) >= 15
    for script, overrides in found:
        check_overrides(parsed(script)[1], shlex.split(overrides))


def hear_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_is_one_line_and_status_130(tmp_path: Path) -> None:
    command = [sys.executable, "scripts/cost.py", f"out={tmp_path}"]
    with subprocess.Popen(
        command,
        cwd=REPOSITORY,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=hear_ctrl_c,  # in a background job, tests and what they start ignore it
    ) as running:
        assert running.stderr is not None
        said = ""
        while "count/s" not in said and "s/count" not in said and running.poll() is None:  # its bar
            said += running.stderr.read(1)
        running.send_signal(signal.SIGINT)
        _, rest = running.communicate(timeout=60)
    assert running.returncode == 130, said + rest
    assert rest.splitlines()[-1] == "interrupted; nothing was written"
