"""Completion by the Tab key: commands, options, presets, and every setting as a dotted option."""

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter
from cyclopts.completion.detect import ShellDetectionError, detect_shell
from cyclopts.completion.install import add_to_rc_file, get_default_completion_path

from mbpo_fast.config import SchemaRow, config_schema_rows, preset_names
from mbpo_fast.errors import UsageError

Shell = Literal["bash", "zsh", "fish"]


def install_completion(
    app: App, take_settings: Sequence[Sequence[str]], shell: Shell | None, output: Path | None
) -> list[str]:
    """Write the script of a shell (None: the one in use), by default where that shell looks for it.

    take_settings: the commands, word by word, that have all settings as options. Without `output` the
    shell's start-up file gets the line that loads the script. Returns what was done, in lines for people.
    """
    shell = shell or _running_shell()
    path = (output or get_default_completion_path(shell, app.name[0])).absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(completion_script(app, take_settings, shell), encoding="utf-8")
    lines = [f"written: {path}"]
    if output is None:
        if shell != "fish" and add_to_rc_file(path, app.name[0], shell):
            lines.append(f"~/.{shell}rc loads it from now on")
        lines.append(f"start a new {shell} to use it")
    return lines


def completion_script(app: App, take_settings: Sequence[Sequence[str]], shell: Shell) -> str:
    """The completion script of a shell, as text."""
    # Changed for a moment and put back: an app whose commands load when they are called cannot be copied.
    originals: list[tuple[App, Callable[..., Any]]] = []
    try:
        for words in take_settings:
            command = app
            for word in words:
                command = command[word]
            function = command.default_command
            assert function is not None
            originals.append((command, function))
            command.default_command = _with_settings(function)
        script = app.generate_completion(shell=shell)
    finally:
        for command, function in originals:
            command.default_command = function
    # What it does not know, such as a settings file after --config, bash completes as a file.
    return script.replace("complete -F", "complete -o default -F")


def _running_shell() -> Shell:
    try:
        shell = detect_shell()
    except ShellDetectionError:
        shell = "powershell"
    if shell == "powershell":
        raise UsageError("--shell: expected bash, zsh or fish, and could not tell which one is in use")
    return shell


def _with_settings(function: Callable[..., Any]) -> Callable[..., Any]:
    """A stand-in whose options are those of `function` and one for every setting."""
    signature = inspect.signature(function)
    own = [_preset_choice(p) for p in signature.parameters.values() if p.name != "overrides"]

    def stand_in(**_options: Any) -> None:
        """Completed, never called."""

    rows = {row.key: row for row in config_schema_rows() if row.key != "seed"}
    parameters = [*own, *map(_setting, rows.values())]
    stand_in.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    stand_in.__annotations__ = {p.name: p.annotation for p in parameters}
    return stand_in


def _preset_choice(parameter: inspect.Parameter) -> inspect.Parameter:
    if parameter.name != "config":
        return parameter
    presets: Any = Literal[tuple(preset_names())]
    return parameter.replace(annotation=Annotated[list[presets] | None, Parameter(negative=())])


def _setting(row: SchemaRow) -> inspect.Parameter:
    words = row.type.replace(" or ", " | ").split(" | ")
    kind: Any = Literal[tuple(words)] if len(words) > 1 and all(map(str.isalnum, words)) else str
    return inspect.Parameter(
        row.key.replace(".", "__"),
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kind | None, Parameter(name=f"--{row.key}", help=row.description)],
    )
