"""Command lines of Markdown's shell blocks, checked by the parsers that would run them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

import faultline.cli
from faultline.cli.commands import register

BLOCK = re.compile(r"^( *)```(?:sh|bash|console)[^\n]*\n(.*?)^\1```", re.DOTALL | re.MULTILINE)
SEPARATORS = {"|", "||", "&&", "&", ";"}


def _commands() -> dict[str, Any]:
    app = faultline.cli.app
    if not app.registered_commands:
        register(app)
    found: dict[str, Any] = {}
    waiting = [("faultline", typer.main.get_command(app))]
    while waiting:
        name, command = waiting.pop()
        found[name] = command
        waiting += [(f"{name} {child}", sub) for child, sub in getattr(command, "commands", {}).items()]
    return found


COMMANDS = _commands()
"""Every command and group of the command line by its full name."""


def parameters_of(command: Any) -> list[str]:
    """Return the options of a command."""
    options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
    return [name for option in options for name in (*option.opts, *option.secondary_opts) if name != "--help"]


def shell_lines(path: Path) -> Iterator[str]:
    """Yield the lines of the shell blocks of a Markdown file; continued lines as one."""
    for _, block in BLOCK.findall(path.read_text(encoding="utf-8")):
        yield from (line.strip() for line in block.replace("\\\n", " ").splitlines() if line.strip())


def simple_commands(line: str) -> Iterator[list[str]]:
    """Yield the words of every simple command of a line: without assignments, redirections and comments."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if word in SEPARATORS:
            while words and (re.fullmatch(r"[A-Z_]+=.*", words[0]) or words[0] in ("export", "nice", "time")):
                words.pop(0)
            if ">" in words:
                words = words[: words.index(">")]
            if words:
                yield words
            words = []
        else:
            words.append(word)


def finding(words: list[str]) -> str | None:
    """Return the error in a call of ``faultline``; None for a call that its parser accepts."""
    name, rest = "faultline", words[1:]
    while rest and f"{name} {rest[0]}" in COMMANDS:
        name, rest = f"{name} {rest[0]}", rest[1:]
    command = COMMANDS[name]
    if getattr(command, "commands", {}) and rest and not rest[0].startswith("-"):
        return f"{name} has no command {rest[0]}"
    context = command.context_class(command, info_name=name)
    try:
        values, left, _ = command.make_parser(context).parse_args(list(rest))
    except Exception as error:
        return f"{name}: {getattr(error, 'message', error)}"
    missing = [p.name for p in command.params if p.required and values.get(p.name) in (None, ())]
    if left or missing:
        return f"{name}: left over {left}, missing {missing}"
    return None
