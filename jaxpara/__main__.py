"""The command line. An error that the user can fix is one line on standard error and a non-zero exit status.

JAX is imported after the flags, the config and the paths are checked, so that errors in them are reported at once.
"""

import glob
import re
import runpy
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from traceback import extract_tb, format_exc
from typing import Any, NoReturn

from absl import flags
from ml_collections import ConfigDict, config_flags

from jaxpara import __version__, processes, runtime
from jaxpara.config import as_run, grid_points
from jaxpara.errors import UserError, reason, refusal
from jaxpara.registry import suggest

PARTS = (
    *("recipe", "seed", "seeds", "parallel", "precision", "deterministic", "sizes", "only"),
    *("corpus", "members", "fusion", "demo"),
)
# The flags that a mode needs; the other modes need --config.
NEEDS = {
    "predict": ("workdir", "input", "output"),
    "live": ("workdir",),
    "export": ("workdir", "output"),
    "compare": ("systems",),
}
MODES = ("train", "evaluate", "check", "show", *NEEDS)
HELP = f"""jaxpara {__version__}: computational paralinguistics in JAX

  python launch.py --config=configs/breathing_e2e.py                       train, evaluate, report; simulated speech
  python launch.py --config=configs/breathing_e2e.py --config.corpus.root=/data/ComParE2020_Breathing
  python launch.py --config=configs/breathing_e2e.py:paper --config.seed=7     another recipe, another field
  python launch.py --mode=predict --workdir=runs/breathing_e2e --input=FOLDER --output=belts.csv

--config=FILE[:RECIPE]   the experiment; recipes: recommended (default), paper, published
--config.FIELD=VALUE     replaces a field of it; --mode=show lists them all
--config.sizes=demo      short training at small sizes, the default without a corpus; full: the whole recipe
--config.only=A,B        only these members of it, and those whose embeddings they use
--grid=FIELD=A,B,...     a run for each value, and with several --grid for each combination, then a table of them
--workdir=FOLDER         the results; by default runs/<config>. Rerun the same command to resume after an interruption
--mode=train             trains what is missing and skips what is finished (default)
--mode=evaluate          predicts and scores again, from the checkpoints alone
--mode=check             lists the errors in the corpus, and trains nothing
--mode=show              lists every field of the config with its value and where it was set, and runs nothing
--mode=predict           predicts new audio with the trained system in --workdir: --input=FILE, FOLDER, PATTERN or a
                         CSV of files, --output=TABLE.csv, and --plot for an image of each file
--mode=live              predicts a signal as it arrives, with Breathing systems 1 and 2: raw 16-bit mono samples from
                         standard input, a line `seconds value` every 40 ms on standard output
--mode=export            writes the trained system in --workdir to the folder --output; --overwrite replaces an export
--mode=compare           tests which of --systems=A,B,... is better, workdirs or CSVs; --output=FOLDER saves the tables;
                         CSVs alone need --corpus_root=FOLDER, and --task=NAME if the labels fit several tasks
--coordinator=HOST:PORT --processes=N --process=I    on several hosts, one process on each; see docs/scaling.md
--distributed            the same, started by SLURM or Open MPI
--version
"""

# The folder that contains `configs`: in an installed package next to this file, otherwise the repository.
SHIPPED = next(
    folder for folder in (Path(__file__).parent / "shipped", Path(__file__).parents[1]) if (folder / "configs").is_dir()
)

FLAGS = flags.FLAGS
config_flags.DEFINE_config_file("config", None, "The experiment.", lock_config=True)
for name in ("workdir", "coordinator", "input", "output", "corpus_root", "task"):
    flags.DEFINE_string(name, None, "See HELP.")
for name in ("distributed", "plot", "overwrite"):
    flags.DEFINE_bool(name, False, "See HELP.")
flags.DEFINE_integer("processes", None, "See HELP.", lower_bound=1)
flags.DEFINE_integer("process", None, "See HELP.", lower_bound=0)
flags.DEFINE_enum("mode", "train", MODES, "See HELP.")
flags.DEFINE_list("systems", None, "See HELP.")
flags.DEFINE_multi_string("grid", [], "See HELP.")


def main(argv: list[str] | None = None) -> NoReturn:
    """Run the command line and exit with status 0 if it is done, 1 for an error, 130 if the user stopped it."""
    if argv is None:
        runtime.use_utf8()
        argv = sys.argv
    if {"--help", "-h", "-help", "--helpfull"}.intersection(argv[1:]):
        print(HELP, end="")
        sys.exit(0)
    if "--version" in argv[1:]:
        print(__version__)
        sys.exit(0)
    try:
        _parse(argv)
        _require_paths()
        runtime.prepare()
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # raises KeyboardInterrupt
        _join()
        command = _command()
        command()
    except KeyboardInterrupt:
        resumable = FLAGS.is_parsed() and FLAGS.mode in ("train", "evaluate", "predict")
        processes.exit_with("stopped" + "; rerun the same command to resume" * resumable, 130)
    except UserError as error:
        processes.exit_with(f"error: {error}", 1)
    except MemoryError as error:
        processes.exit_with(f"error: out of memory ({error}); {_more_memory()}", 1)
    except OSError as error:
        processes.exit_with(f"error: {refusal(error)}; finished work is kept: fix it and rerun the same command", 1)
    except Exception as error:
        if "RESOURCE_EXHAUSTED" in str(error):  # the status of XLA when a device's memory is full
            from jaxpara.training.memory import advice

            processes.exit_with(f"error: out of memory on the device ({reason(error)}); {_more_memory()}{advice()}", 1)
        if processes.count() == 1:
            raise
        if type(error).__name__ == "JaxRuntimeError":  # by name: JAX may not be imported yet
            what = f"a peer process exited, or JAX failed ({reason(error)})"
            processes.exit_with(f"error: {what}; rerun the same command on all hosts to resume", 1)
        processes.exit_with(format_exc(), 1)  # not raised: the exit would wait for the other processes
    sys.exit(0)


def _command() -> Callable[[], None]:
    """Return the function of the mode with its arguments; `runtime.prepare` comes before, as this imports JAX."""
    paths: list[Any] = [Path(path) if path else None for path in (FLAGS.workdir, FLAGS.output, FLAGS.corpus_root)]
    workdir, output, root = paths
    if FLAGS.mode == "predict":
        from jaxpara.inference.predict import predict

        return partial(predict, workdir, FLAGS.input, output, images=FLAGS.plot)
    if FLAGS.mode == "live":
        from jaxpara.inference.live import live

        return partial(live, workdir)
    if FLAGS.mode == "export":
        from jaxpara.inference.export import export

        return lambda: print(*export(workdir, output, overwrite=FLAGS.overwrite), sep="\n")
    if FLAGS.mode == "compare":
        from jaxpara.run import compare

        return partial(compare, [Path(system) for system in FLAGS.systems], root, FLAGS.task, output)
    file = Path(config_flags.get_config_filename(FLAGS["config"]).partition(":")[0])
    overrides = config_flags.get_override_values(FLAGS["config"])
    if FLAGS.mode == "show":
        from jaxpara.show import show

        return lambda: print(show(FLAGS.config, overrides=overrides, file=file), end="")
    if FLAGS.grid:
        from jaxpara.grid import run_grid

        points = grid_points(FLAGS.config, FLAGS.grid)
        return partial(run_grid, FLAGS.config, points, overrides=overrides, name=file.stem, workdir=workdir)
    from jaxpara.run import run

    return partial(run, FLAGS.config, overrides=overrides, name=file.stem, workdir=workdir, mode=FLAGS.mode)


def _more_memory() -> str:
    trains = FLAGS.mode in ("train", "evaluate")
    fix = "lower learner.batch, or set learner.microbatch, or shorten the windows"
    return f"{fix if trains else 'end other programs, or use a computer with more memory'}; finished work is kept"


def _join() -> None:
    """Join the other processes, if the flags name them."""
    coordinator, count, index = by_hand = (FLAGS.coordinator, FLAGS.processes, FLAGS.process)
    named = by_hand != (None, None, None)
    if not named and not FLAGS.distributed:
        return
    problem = ""
    if named and (FLAGS.distributed or None in by_hand):
        problem = "--coordinator, --processes and --process are used together, and --distributed alone"
    elif named and (index >= count or not re.fullmatch(r".+:\d+", coordinator)):
        given = f"--coordinator={coordinator} --processes={count} --process={index}"
        problem = f"{given}, expected HOST:PORT, N, and I from 0 to N - 1"
    elif FLAGS.grid:
        problem = "--grid runs in one process; leave these flags out"
    elif FLAGS.mode not in ("train", "evaluate"):
        problem = f"--mode={FLAGS.mode} runs in one process; leave these flags out"
    if problem:
        raise UserError(f"command line: {problem}")
    processes.join(*by_hand)


def _parse(argv: list[str]) -> None:
    argv = list(argv)
    if "--config" in argv[:-1]:
        at = argv.index("--config")
        argv[at : at + 2] = [f"--config={argv[at + 1]}"]
    argv = [_shipped(argument) for argument in argv]
    given = [argument.partition("=")[2] for argument in argv[1:] if re.match("--?config=", argument)]
    if len(given) > 1:
        raise UserError(f"--config is given twice, {' and '.join(given)}; give one experiment")
    config = given[0] if given else ""
    path = Path(config.partition(":")[0])
    if given and not path.is_file():
        known = [str(other) for folder in {path.parent, Path("configs")} for other in folder.glob("[!_]*.py")]
        known += [str(other.relative_to(SHIPPED)) for other in (SHIPPED / "configs").glob("[!_]*.py")]
        raise UserError(f"--config={config}: no such file{suggest(str(path), sorted(set(known)))}")
    try:
        rest = FLAGS(argv)
    except Exception as error:  # a config file can raise anything
        raise UserError(_problem(error, config, argv)) from error
    if rest[1:]:
        raise UserError(f"command line: {rest[1]!r} is not a flag; see --help")
    if FLAGS.grid and FLAGS.mode != "train":
        raise UserError(f"--grid={FLAGS.grid[0]} trains a grid of runs; leave out --mode={FLAGS.mode}")
    if FLAGS.mode in NEEDS:
        if missing := [name for name in NEEDS[FLAGS.mode] if not FLAGS[name].value]:
            raise UserError(f"--{missing[0]} is missing: --mode={FLAGS.mode} needs it; see --help")
        return
    if not given:
        raise UserError("--config is missing: name an experiment, such as --config=configs/breathing_e2e.py")
    fields = FLAGS.config if isinstance(FLAGS.config, ConfigDict) else ()
    if absent := ", ".join(part for part in PARTS if part not in fields):
        fix = "return one made by configs.common.experiment"
        raise UserError(f"--config={path}: its get_config() returns no config with {absent}; {fix}")
    overrides = config_flags.get_override_values(FLAGS["config"])
    for point in grid_points(FLAGS.config, FLAGS.grid):  # without --grid a single one
        as_run(FLAGS.config, overrides | point)


def _require_paths() -> None:
    """Raise a UserError for a path that does not exist; its content is checked later."""
    mode, workdir = FLAGS.mode, FLAGS.workdir or ""
    if workdir.encode("utf-8", "replace").decode() != workdir:
        raise UserError(f"--workdir={workdir}: the name is not UTF-8, which checkpoints need; choose another")
    if mode in ("train", "evaluate", "check") and (root := FLAGS.config.corpus.root) and not Path(root).exists():
        raise UserError(f"--config.corpus.root={root}: no such folder; give the folder that contains wav/ and lab/")
    if mode == "predict" and not (glob.has_magic(FLAGS.input) or Path(FLAGS.input).exists()):
        raise UserError(f"--input={FLAGS.input}: no such file or folder")
    if "workdir" in NEEDS.get(mode, ()) and not Path(FLAGS.workdir).is_dir():
        raise UserError(f"--workdir={FLAGS.workdir}: no such folder, expected the workdir of a finished run")
    for path in FLAGS.systems or () if mode == "compare" else ():
        if not Path(path).exists():
            raise UserError(f"{path}: no such file or folder; give workdirs of finished runs, or CSVs of predictions")


def _shipped(argument: str) -> str:
    """Return an argument with the path of a config of this package, if it names one that is not found here."""
    flag, equals, filename = argument.partition("=")
    path, colon, recipe = filename.partition(":")
    if flag.lstrip("-") != "config" or not path or Path(path).is_file() or not (SHIPPED / path).is_file():
        return argument
    sys.path.insert(0, str(SHIPPED))  # the config imports `configs`
    return f"{flag}{equals}{SHIPPED / path}{colon}{recipe}"


def _problem(error: Exception, config: str, argv: list[str]) -> str:
    """Return in one line an error from the config file, ml_collections or absl."""
    text = error.msg if isinstance(error, SyntaxError) else " ".join(str(part) for part in error.args)
    text = text.replace("\\n", "\n").replace("\\'", "'").strip()
    lines = [line.strip() for line in text.splitlines()] or [type(error).__name__]
    # The message for a config file with an error is a whole traceback; its last line is the reason.
    what = lines[-1] if "Traceback" in text else " ".join(lines)
    if len(what) > 1 and what[0] == what[-1] == "'":
        what = what[1:-1]

    path = str(Path(config.partition(":")[0]))
    line = next((f.lineno for f in reversed(extract_tb(error.__traceback__)) if f.filename == path), None)
    if isinstance(error, SyntaxError):
        path, line = error.filename or path, error.lineno
    if isinstance(error, SyntaxError) or line:
        where = f"{path}, line {line}" if line else path
        return f"{where}: {type(error).__name__}: {what}; fix the config file"
    if isinstance(error, AttributeError) and "'get_config'" in text:
        return f"--config={path}: has no function get_config; see the files in configs/ for examples"

    if re.fullmatch(r"\W*'[\w.]+'( Did you mean .*)?\W*", " ".join(lines)):  # ml_collections names only the field
        what = _unknown_field(config, argv)
    elif unknown := re.match(r"Unknown command line flag '([\w.-]+)'", text):
        what = f"--{unknown[1]} is not a flag{suggest(unknown[1].partition('.')[0], list(FLAGS))}"
    elif mode := re.match(r"flag --mode=(\S*): ", text):
        what = f"--mode={mode[1]} is unknown, expected one of {', '.join(MODES)}{suggest(mode[1], list(MODES))}"
    return f"command line: {what}; see --help"


def _unknown_field(config: str, argv: list[str]) -> str:
    """Return an error message for the field on the command line that the config does not have."""
    path, _, recipe = config.partition(":")
    fields = runpy.run_path(path)["get_config"](*filter(None, [recipe])).to_dict()
    for flag in (argument.lstrip("-").partition("=")[0] for argument in argv[1:]):
        part = fields
        for field in flag.split(".")[1:]:
            known = list(part) if isinstance(part, dict) else []
            if field not in known:
                there = f"which has {known} there{suggest(field, known)}"
                return f"--{flag}: {field!r} is not a field of this config, {there}"
            part = part[field]
    return "a field is not one of this config"


if __name__ == "__main__":
    main()
