"""The command line: flags in, `jaxpara.run` out. Everything the user can mend is one line and a non-zero exit."""

import re
import runpy
import signal
import sys
from pathlib import Path
from traceback import extract_tb, format_exc
from typing import NoReturn

from absl import flags
from ml_collections import ConfigDict, config_flags

from jaxpara import __version__, runtime
from jaxpara import processes as processes_
from jaxpara.errors import UserError, refusal
from jaxpara.registry import suggest

PARTS = ("recipe", "seed", "corpus", "members", "fusion", "demo")
MODES = ("train", "evaluate", "check", "show", "predict", "live")
NEEDS = {
    "predict": ("workdir", "input", "output"),
    "live": ("workdir",),
}  # the modes that take the config from the workdir
HELP = f"""jaxpara {__version__}: computational paralinguistics in JAX

  python launch.py --config=configs/breathing_e2e.py                       train, evaluate, report; simulated speech
  python launch.py --config=configs/breathing_e2e.py --config.corpus.root=/data/ComParE2020_Breathing
  python launch.py --config=configs/breathing_e2e.py:paper --config.seed=7     another recipe, another field
  python launch.py --mode=predict --workdir=runs/breathing_e2e --input=FOLDER --output=belts.csv

--config=FILE[:RECIPE]   the experiment; recipes: recommended (default), paper, published
--config.FIELD=VALUE     replaces a field of it; --mode=show names them all
--workdir=FOLDER         where everything is left; by default runs/<config>. The same command goes on where it stopped
--mode=train             what is missing is trained, what is finished is skipped (default)
--mode=evaluate          predicts and scores again, from the checkpoints alone
--mode=check             says what is wrong with the corpus, and trains nothing
--mode=show              says what each field is, what it means and where its value comes from, and runs nothing
--mode=predict           what a trained system in --workdir says of any audio: --input=FILE, FOLDER or PATTERN,
                         --output=TABLE.csv, and --plot for a picture of each file beside it
--mode=live              the same while a recording goes on, with Breathing systems 1 and 2: raw 16-bit mono samples
                         from standard input, a line `seconds value` every 40 ms on standard output
--coordinator=HOST:PORT --processes=N --process=I    on several hosts, one process on each; see README
--distributed            the same where SLURM or Open MPI starts the processes
--version
"""

# Where `configs` lies: in an installed package beside this file, else in the working copy.
SHIPPED = next(
    folder for folder in (Path(__file__).parent / "shipped", Path(__file__).parents[1]) if (folder / "configs").is_dir()
)

_CONFIG = config_flags.DEFINE_config_file("config", None, "The experiment.", lock_config=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "Where everything is left.")
_COORDINATOR = flags.DEFINE_string("coordinator", None, "HOST:PORT of the first of several processes.")
_PROCESSES = flags.DEFINE_integer("processes", None, "How many processes make this run.", lower_bound=1)
_PROCESS = flags.DEFINE_integer("process", None, "Which of them this is, from 0.", lower_bound=0)
_DISTRIBUTED = flags.DEFINE_bool("distributed", False, "Several processes, started by SLURM or Open MPI.")
_MODE = flags.DEFINE_enum("mode", "train", MODES, "What to do.")
_INPUT = flags.DEFINE_string("input", None, "Audio to predict.")
_OUTPUT = flags.DEFINE_string("output", None, "The table of predictions.")
_PLOT = flags.DEFINE_boolean("plot", False, "Whether to draw each file.")


def main(argv: list[str] | None = None) -> NoReturn:
    """Runs the command line and exits: 0 done, 1 something to mend, 130 stopped by the user."""
    argv = sys.argv if argv is None else argv
    if any(argument in ("--help", "-h", "-help", "--helpfull") for argument in argv[1:]):
        print(HELP, end="")
        sys.exit(0)
    if "--version" in argv[1:]:
        print(__version__)
        sys.exit(0)
    try:
        _parse(argv)
        runtime.prepare()
        signal.signal(signal.SIGTERM, _stop)
        _join()
        _do(_MODE.value, Path(_WORKDIR.value) if _WORKDIR.value else None)
    except KeyboardInterrupt:
        goes_on = "" if _MODE.value == "live" else "; the same command goes on where it stopped"
        processes_.exit_with(f"stopped{goes_on}", 130)
    except UserError as error:
        processes_.exit_with(f"error: {error}", 1)
    except MemoryError as error:
        processes_.exit_with(f"error: out of memory ({error}); {_more_memory(_MODE.value)}", 1)
    except OSError as error:
        processes_.exit_with(f"error: {refusal(error)}; nothing finished is lost, mend it and run again", 1)
    except Exception as error:
        if "RESOURCE_EXHAUSTED" in str(error):  # JAX's word for a device's memory that is full
            what = str(error).splitlines()[0][:200]
            processes_.exit_with(f"error: out of memory on the device ({what}); {_more_memory(_MODE.value)}", 1)
        if processes_.count() == 1:
            raise
        # Without a word to the others, who would be waited for.
        processes_.exit_with(processes_.peer_error(error) or format_exc(), 1)
    sys.exit(0)


def _do(mode: str, workdir: Path | None) -> None:
    # Imports come only after runtime.prepare(), as they import JAX.
    if mode == "predict":
        from jaxpara.inference.predict import predict

        given, output = str(_INPUT.value), Path(str(_OUTPUT.value))  # both are there, see NEEDS
        predict(Path(str(_WORKDIR.value)), given, output, images=bool(_PLOT.value))
        return
    if mode == "live":
        from jaxpara.inference.live import live

        live(Path(str(_WORKDIR.value)))
        return
    file = Path(config_flags.get_config_filename(flags.FLAGS["config"]).partition(":")[0])
    overrides = config_flags.get_override_values(flags.FLAGS["config"])
    if mode == "show":
        from jaxpara.show import show

        print(show(_CONFIG.value, overrides=overrides, file=file), end="")
    else:
        from jaxpara.run import run

        run(_CONFIG.value, overrides=overrides, name=file.stem, workdir=workdir, mode=mode)


def _more_memory(mode: str) -> str:
    """What to do where there is too little."""
    if mode in ("train", "evaluate"):
        return "lower learner.batch, or set learner.microbatch, or shorten the windows; nothing finished is lost"
    return "end other programs, or take a machine with more; nothing finished is lost"


def _stop(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _join() -> None:
    """Makes this process one of several, where the flags say so."""
    coordinator, processes, process = by_hand = (_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
    if coordinator is not None and processes is not None and process is not None and not _DISTRIBUTED.value:
        if process >= processes or not re.fullmatch(r".+:\d+", coordinator):
            raise UserError(
                f"command line: --coordinator={coordinator} --processes={processes} --process={process}, expected"
                " HOST:PORT, N, and I from 0 to N - 1"
            )
    elif by_hand != (None, None, None):
        raise UserError(
            "command line: --coordinator, --processes and --process belong together, and --distributed stands alone"
        )
    elif not _DISTRIBUTED.value:
        return
    if _MODE.value not in ("train", "evaluate"):
        raise UserError(f"command line: --mode={_MODE.value} is the work of one process; leave the others out")
    processes_.join(*by_hand)


def _parse(argv: list[str]) -> None:
    argv = list(argv)
    if "--config" in argv[:-1]:
        at = argv.index("--config")
        argv[at : at + 2] = [f"--config={argv[at + 1]}"]
    argv = [_shipped(argument) for argument in argv]
    given = [argument.partition("=")[2] for argument in argv[1:] if argument.startswith("--config=")]
    if len(given) > 1:
        raise UserError(f"--config is given twice, as {' and as '.join(given)}; name one experiment")
    path = Path(given[0].partition(":")[0]) if given else Path()
    if given and not path.is_file():
        known = [str(other) for folder in {path.parent, Path("configs")} for other in folder.glob("[!_]*.py")]
        known += [str(other.relative_to(SHIPPED)) for other in (SHIPPED / "configs").glob("[!_]*.py")]
        raise UserError(f"--config={given[0]}: no such file{suggest(str(path), sorted(set(known)))}")
    try:
        rest = flags.FLAGS(argv)
    except Exception as error:  # whatever a config file raises when it is read
        raise UserError(_place(error, path, argv) or f"command line: {_reason(error, argv)}; see --help") from error
    if rest[1:]:
        raise UserError(f"command line: {rest[1]!r} is not a flag; see --help")
    if _MODE.value in NEEDS:
        if missing := [name for name in NEEDS[_MODE.value] if not flags.FLAGS[name].value]:
            raise UserError(f"--{missing[0]} is missing: --mode={_MODE.value} needs it; see --help")
        return
    if not flags.FLAGS["config"].present:
        raise UserError("--config is missing: name an experiment, such as --config=configs/breathing_e2e.py")
    absent = [part for part in PARTS if not isinstance(_CONFIG.value, ConfigDict) or part not in _CONFIG.value]
    if absent:
        raise UserError(
            f"--config={path}: its get_config() returns no config with {', '.join(absent)}; return one that"
            " configs.common.experiment made"
        )


def _place(error: Exception, config: Path, argv: list[str]) -> str:
    """Of an error in the config file: file, line and reason; an empty string for any other."""
    line = next((f.lineno for f in reversed(extract_tb(error.__traceback__)) if f.filename == str(config)), None)
    if isinstance(error, SyntaxError):
        config, line = Path(error.filename or config), error.lineno
    elif isinstance(error, AttributeError) and "'get_config'" in str(error):
        return f"--config={config}: has no function get_config; take one of configs/ as a pattern"
    elif line is None:
        return ""
    where = f"{config}, line {line}" if line else config
    return f"{where}: {type(error).__name__}: {_reason(error, argv)}; mend the config file"


def _shipped(argument: str) -> str:
    """The argument, where it names a config that is not here but came with jaxpara: that one's place."""
    flag, equals, filename = argument.partition("=")
    path, colon, recipe = filename.partition(":")
    if flag.lstrip("-") != "config" or not path or Path(path).is_file() or not (SHIPPED / path).is_file():
        return argument
    sys.path.insert(0, str(SHIPPED))  # its own `configs`, whatever is of that name here
    return f"{flag}{equals}{SHIPPED / path}{colon}{recipe}"


def _unknown_field(argv: list[str]) -> str:
    """Says which field of the command line the config has not, and what it has there."""
    flags_given = [argument.lstrip("-").partition("=")[0] for argument in argv[1:]]
    path, _, recipe = argv[1 + flags_given.index("config")].partition("=")[2].partition(":")
    config = runpy.run_path(path)["get_config"](*filter(None, [recipe])).to_dict()
    for flag in flags_given:
        part = config
        for field in flag.split(".")[1:]:
            if not isinstance(part, dict) or field not in part:
                known = list(part) if isinstance(part, dict) else []
                return (
                    f"--{flag}: {field!r} is not a field of this config, which has {known} there{suggest(field, known)}"
                )
            part = part[field]
    return "a field is not one of this config"


def _reason(error: Exception, argv: list[str]) -> str:
    """The one line of an error of flags or of a config file that says what is wrong."""
    text = (
        str(error.msg)
        if isinstance(error, SyntaxError)
        else " ".join(str(part) for part in error.args).replace("\\n", "\n").replace("\\'", "'").strip()
    )
    lines = [line.strip() for line in text.splitlines()] or [type(error).__name__]
    if re.fullmatch(r"\W*'[\w.]+'( Did you mean .*)?\W*", " ".join(lines)):  # ml_collections names a field, and no more
        return _unknown_field(argv)
    if unknown := re.match(r"Unknown command line flag '([\w.-]+)'", text):
        return f"--{unknown[1]} is not a flag{suggest(unknown[1].partition('.')[0], list(flags.FLAGS))}"
    if mode := re.match(r"flag --mode=(\S*): ", text):
        return f"--mode={mode[1]} is unknown, expected one of {', '.join(MODES)}{suggest(mode[1], list(MODES))}"
    # A config file that fails brings its whole traceback along; its last line is the reason.
    line = lines[-1] if any("Traceback" in line for line in lines) else " ".join(lines)
    return line[1:-1] if len(line) > 1 and line[0] == line[-1] == "'" else line


if __name__ == "__main__":
    main()
