"""From a command line to the call of a function, and from an error to an exit code; knows no command.

A command is a function that returns its exit code: its signature is the interface, its docstring the help. Its name is
a word, or two where several commands share the first: ``mvit bench model``.
"""

import inspect
import io
import itertools
import os
import re
import select
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from mvit import __version__

DONE, USERS_INPUT, INTERRUPTED, READER_GONE = 0, 2, 130, 141
"""Exit codes. A fault of ours leaves with its traceback and Python's own 1; the last two are 128 + the signal."""

Command = Callable[..., int]
Commands = Mapping[str, Command]


def main(commands: Commands, args: Sequence[str]) -> int:
    """Run a command line and return its exit code, errors of the user's told in a sentence; faults of ours raise."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # names of files may be any bytes, and stay as they are
    try:
        code = run(commands, args)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("mvit: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        if not _stdout_is_closed():
            raise
        return READER_GONE
    except (ValueError, OSError) as error:
        print(f"mvit: {users_fault(error)}", file=sys.stderr)
        return USERS_INPUT
    return code


def run(commands: Commands, args: Sequence[str]) -> int:
    """Call the command that the first argument names with what the others say; its errors pass through."""
    name, *rest = args or ["--help"]
    if name in ("-h", "--help", "help"):
        print(_help(commands))
        return DONE
    if name == "--version":
        print(f"mvit {__version__}")
        return DONE
    if rest and any(known.startswith(f"{name} ") for known in commands):
        name, rest = f"{name} {rest[0]}", rest[1:]
    if name not in commands:
        from mvit.model.presets import nearest

        raise ValueError(f"there is no command {name!r}: {nearest(name, list(commands))}")

    import tyro

    command = commands[name]
    _name_values(command)
    marks = (tyro.conf.FlagCreatePairsOff, tyro.conf.AvoidSubcommands)
    try:
        return tyro.cli(command, args=_options_last(rest, name, command), prog=f"mvit {name}", config=marks)
    except SystemExit as stop:  # tyro has printed the help (0) or what it did not understand (2)
        return int(stop.code or DONE)


def users_fault(error: ValueError | OSError) -> str:
    """The sentence for the user where the fault is theirs; raises the error again where it is ours.

    Theirs are the errors that this package raised, and those of the system about a file; a ``ValueError`` out of the
    depth of a library is a call of ours that was wrong.
    """
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    raised_here = trace is not None and Path(trace.tb_frame.f_code.co_filename).is_relative_to(Path(__file__).parent)
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if not raised_here:
        raise error
    return str(error)


def numbers(text: str, what: str, count: int) -> Any:
    """A tuple of ``count`` whole numbers above 0 that are joined by x; raises ``ValueError`` for anything else."""
    parts = text.split("x")
    if len(parts) != count or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ValueError(f"{text!r} is not {what}")
    return tuple(int(part) for part in parts)


def share(text: str) -> float:
    """A share of 0 to 1 from 1% or 0.01; raises ``ValueError`` for anything else."""
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ValueError(f"{text!r} is no share of the videos: give 0% to 100%, such as 1% or 0.01")
    return value


def seconds(text: str) -> float:
    """Seconds from 2s, 0.5, 500ms or 1min; raises ``ValueError`` for anything else."""
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})\s*(ms|s|min|)", text.strip())
    if not found:
        raise ValueError(f"{text!r} is no time: give seconds, such as 2s, 0.5s, 500ms or 1min")
    return float(found[1]) * {"ms": 0.001, "min": 60.0}.get(found[2], 1.0)


@contextmanager
def progress_bar(doing: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error where that is a terminal; gives what to call with how many are done, of how many."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    if not console.is_terminal:  # rich ends a line there even of a bar that it does not show
        yield lambda done, of: None
        return
    # What is printed beside the bar would go to the bar's terminal, also where it belongs into a file or a pipe.
    shown = sys.stdout.isatty()
    with Progress(console=console, transient=True, redirect_stdout=shown) as bar:
        task = bar.add_task(doing, total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)


def _help(commands: Commands) -> str:
    summaries = (f"  {name:13}{(command.__doc__ or '').splitlines()[0]}" for name, command in commands.items())
    return "\n".join(
        [
            "usage: mvit COMMAND ...",
            "",
            "From a folder of videos to a trained, evaluated, explained model.",
            "",
            *summaries,
            "",
            "`mvit COMMAND --help` says more. Exit codes: 0 done, 2 your input, 1 our fault, 130 interrupted.",
        ]
    )


def _name_values(command: Command) -> None:
    """Have tyro's help call values by their names (DATA, VIDEO...) and pass over defaults that say nothing."""
    from tyro.conf import arg

    hints = get_type_hints(command)
    for name, entry in inspect.signature(command).parameters.items():
        many = get_origin(hints[name]) is tuple
        metavar = None if hints[name] is bool else f"{name.removesuffix('s').upper()}..." if many else name.upper()
        if bool in get_args(hints[name]):
            metavar = f"[{'|'.join(sorted(_words(hints[name])))}]"
        says_nothing = entry.default in ((), None, inspect.Parameter.empty) or isinstance(entry.default, bool)
        hint = "" if says_nothing else None
        command.__annotations__[name] = Annotated[hints[name], arg(metavar=metavar, help_behavior_hint=hint)]


def _options_last(args: list[str], name: str, command: Command) -> list[str]:
    """The same arguments with options behind positionals: tyro takes positionals only in one piece.

    Raises ``ValueError`` for an option that the command does not have, a value that one cannot have, and too few or too
    many arguments.
    """
    if "--" in args:
        return args
    if {"-h", "--help"} & set(args):
        return ["--help"]
    takes, types = inspect.signature(command).parameters, get_type_hints(command)
    hints = {
        each.replace("_", "-"): types[each] for each in takes if takes[each].kind is inspect.Parameter.KEYWORD_ONLY
    }
    flags = {
        f"--{'no-' if takes[each].default else ''}{each.replace('_', '-')}" for each in takes if types[each] is bool
    }
    hints = {each: hint for each, hint in hints.items() if hint is not bool}
    valued = {f"--{name}": _words(hint) for name, hint in hints.items() if bool in get_args(hint)}
    many: dict[str, list[str]] = {f"--{name}": [] for name, hint in hints.items() if get_origin(hint) is tuple}
    options: list[str] = []
    positionals: list[str] = []
    rest = list(args)
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("-"):
            positionals.append(argument)
            continue
        option, given, value = argument.partition("=")
        option = option.replace("_", "-")
        if option in valued and not given and (not rest or rest[0] not in valued[option]):
            options += [option, "True"]  # a flag alone: tyro wants a value where there may be one
            continue
        if given:
            values = [value]
        elif option in many:
            values = list(itertools.takewhile(lambda value: not value.startswith("-"), rest))
        else:
            values = [] if option in flags else rest[:1]
        if option not in flags:
            hint = hints.get(option.removeprefix("--"))
            if hint is None:
                from mvit.model.presets import nearest

                near = nearest(option, [*(f"--{each}" for each in hints), *sorted(flags), "--help"])
                raise ValueError(f"mvit {name} has no option {option}: {near}")
            for each in values or [""]:
                _require_value(option, each, hint)
        if option in many:  # given twice, tyro would keep the last
            many[option] += values
        else:
            options += [f"{option}={value}"] if given else [option, *values]
        if not given:
            del rest[: len(values)]
    for option, values in many.items():
        if len(values) == 1:  # which may begin with a dash
            options.append(f"{option}={values[0]}")
        elif values:
            options += [option, *values]
    _require_enough(positionals, options, name, command)
    return positionals + options


def _require_enough(positionals: list[str], options: list[str], name: str, command: Command) -> None:
    """Raise ``ValueError`` where arguments are lacking, or are more than the command takes."""
    types, takes = get_type_hints(command), inspect.signature(command).parameters
    many = [each for each in takes if get_origin(types[each]) is tuple]  # which may be none as well
    needed = [each for each, entry in takes.items() if entry.default is entry.empty and each not in many]
    places = [each for each, entry in takes.items() if entry.kind is entry.POSITIONAL_ONLY]
    given = {option.partition("=")[0] for option in options}
    lacking = [each.upper() for each in places[len(positionals) :] if each in needed]
    required = [f"--{each.replace('_', '-')}" for each in needed if each not in places]
    lacking += [each for each in required if each not in given]
    if lacking:
        raise ValueError(f"mvit {name} lacks {' and '.join(lacking)}: `mvit {name} --help` says what it takes")
    if len(positionals) > len(places) and not set(many) & set(places):
        more = positionals[len(places)]
        raise ValueError(f"mvit {name} takes nothing like {more!r} here: `mvit {name} --help` says what it takes")


def _require_value(option: str, text: str, hint: Any) -> None:
    """Raise ``ValueError`` for what an option cannot be: tyro would tell of Python's types."""
    kinds = {hint, *get_args(hint)}
    words = get_args(hint) if get_origin(hint) is Literal else ()
    takes = "a whole number" if int in kinds else "a number" if float in kinds else " or ".join(words)
    try:
        fits = bool(text) and (not words or text in words)
        for number in {int, float} & kinds:
            number(text)
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"{option} is {text!r}, but takes {takes or 'a value'}")


def _words(hint: Any) -> set[str]:
    """The words that may stand behind a flag."""
    return {word for part in get_args(hint) if get_origin(part) is Literal for word in get_args(part)}


def _stdout_is_closed() -> bool:
    """Whether it was the reader of our output that left (``mvit predict ... | head``), and not a pipe of our own."""
    watch = select.poll()
    watch.register(sys.stdout, 0)
    if not any(event & (select.POLLERR | select.POLLHUP) for _, event in watch.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains once more at exit
    return True
