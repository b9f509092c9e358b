"""Generate the reference of the command line from the app itself."""

from __future__ import annotations

import re
from typing import Any, Literal, get_args, get_origin

from markup import paragraph, table
from mkdocs.structure.files import File, Files

PAGE = "reference/cli.md"
KINDS = {"bool": "", "str": "text", "int": "integer", "float": "number", "Path": "path"}
INTRODUCTION = """# Command line

`faultline COMMAND --help` prints the same text. Every command also takes its settings from the
[environment](settings.md); an option takes precedence over a variable. The exit status is 0 after success, 1 after a
failure, which a message on standard error explains, and 2 after a wrong option, unless the command says otherwise.
Results go to standard output, logs and progress to standard error.
"""


def commands() -> list[tuple[str, Any]]:
    """Return every command and group of commands by its full name, in the order of `faultline --help`."""
    import typer

    import faultline.cli
    from faultline.cli.commands import register

    app = faultline.cli.app
    if not app.registered_commands:
        register(app)
    return list(_walk("faultline", typer.main.get_command(app)))


def _walk(name: str, command: Any) -> list[tuple[str, Any]]:
    found = [(name, command)]
    for child, sub in getattr(command, "commands", {}).items():
        found += _walk(f"{name} {child}", sub)
    return found


def _value(parameter: Any) -> str:
    """Return a description of a parameter's values; empty for a switch."""
    if getattr(parameter, "is_flag", False):
        return ""
    if parameter.metavar:
        return f"`{parameter.metavar}`"
    descriptor = getattr(parameter, "type_descriptor", None)
    if descriptor is None:  # a typer that stands on click has click's types
        click_type = parameter.type
        choices, low, high = (
            getattr(click_type, "choices", ()),
            getattr(click_type, "min", None),
            getattr(click_type, "max", None),
        )
        kind = {
            "boolean": "",
            "text": "text",
            "integer range": "integer",
            "float range": "number",
            "float": "number",
        }.get(click_type.name, click_type.name)
    else:
        kind_of = descriptor.annotation
        while get_origin(kind_of) in (list, tuple) and get_args(kind_of):
            kind_of = get_args(kind_of)[0]
        choices = get_args(kind_of) if get_origin(kind_of) is Literal else ()
        if isinstance(kind_of, type) and hasattr(kind_of, "__members__"):
            choices = [member.value for member in kind_of]
        low, high = parameter.min, parameter.max
        kind = KINDS.get(getattr(kind_of, "__name__", str(kind_of)), getattr(kind_of, "__name__", str(kind_of)))
    if choices:
        return ", ".join(f"`{choice}`" for choice in choices)
    if low is not None and high is not None:
        return f"{kind}, {low:g} to {high:g}"
    if low is not None or high is not None:
        return f"{kind}, {'at least' if low is not None else 'at most'} {low if low is not None else high:g}"
    return kind


def _default(parameter: Any) -> str:
    default = parameter.default
    if parameter.required:
        return "required"
    if default is None or default == "" or default == () or default is False or callable(default):
        return ""
    return "on" if default is True else f"`{default}`"


def _options(parameters: list[Any]) -> str:
    rows = []
    for parameter in parameters:
        names = [f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts)]
        again = getattr(parameter, "multiple", False) and "repeated" not in (parameter.help or "")
        rows.append(
            (
                ", ".join(names),
                _value(parameter),
                _default(parameter),
                paragraph(parameter.help or "") + (" Can be repeated." if again else ""),
            )
        )
    return table(("Option", "Value", "Default", "Meaning"), rows)


def _arguments(parameters: list[Any]) -> str:
    rows = [
        (
            f"`{parameter.metavar or parameter.name.upper()}`",
            "required" if parameter.required else "",
            _default(parameter) if not parameter.required else "",
            paragraph(parameter.help or ""),
        )
        for parameter in parameters
    ]
    return table(("Argument", "", "Default", "Meaning"), rows)


def body(help_text: str) -> str:
    """Return a command's help as Markdown: paragraphs, and its examples as one block of shell."""
    paragraphs, examples = [], []
    for part in re.sub(r"\n- ", "\n\n", help_text).split("\n\n"):
        text = " ".join(part.split())
        example = re.fullmatch(r"(?:Example: )?`([^`]+)`(?: \((.+)\))?", text)
        if example:
            examples.append(example[1] + (f"  # {example[2]}" if example[2] else ""))
        elif text != "Examples:":
            paragraphs.append(paragraph(text))
    if examples:
        paragraphs.append("```sh\n" + "\n".join(examples) + "\n```")
    return "\n\n".join(paragraphs)


def page() -> str:
    """Return the whole page."""
    parts = [INTRODUCTION]
    everything = commands()
    parts.append(
        table(
            ("Command", "Purpose"),
            (
                (f"[`{name}`](#{name.replace(' ', '-')})", (command.help or "").split("\n\n")[0])
                for name, command in everything[1:]
            ),
        )
    )
    for name, command in everything:
        parameters = [p for p in command.params if not getattr(p, "hidden", False) and p.name != "help"]
        arguments = [p for p in parameters if p.param_type_name == "argument"]
        options = [p for p in parameters if p.param_type_name == "option"]
        group = bool(getattr(command, "commands", {}))
        usage = " ".join(
            [
                name,
                *(["[OPTIONS]"] if options else []),
                *(
                    [("COMMAND" if not getattr(command, "invoke_without_command", False) else "[COMMAND]")]
                    if group
                    else []
                ),
                *(_usage(p) for p in arguments),
            ]
        )
        parts.append(f"## `{name}` {{ #{name.replace(' ', '-')} }}\n")
        parts.append(body(command.help or "") + "\n")
        parts.append(f"```text\n{usage}\n```\n")
        if arguments:
            parts.append(_arguments(arguments))
        if options:
            parts.append(_options(options))
        if command.epilog:
            parts.append(command.epilog + "\n")
    return "\n".join(parts)


def _usage(parameter: Any) -> str:
    name = parameter.metavar or parameter.name.upper() + ("…" if parameter.nargs != 1 else "")
    return name if parameter.required or name.startswith("[") else f"[{name}]"


def on_files(files: Files, config: Any) -> Files:
    """Add the page to the site."""
    files.append(File.generated(config, PAGE, content=page()))
    return files
