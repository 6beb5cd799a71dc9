"""python -m jaxpara.inference.export_command W OUT: the system in a workdir as one folder that needs nothing else."""

import argparse
import sys
from pathlib import Path
from typing import NoReturn

from jaxpara import processes, runtime
from jaxpara.errors import UserError, refusal


def main(argv: list[str] | None = None) -> NoReturn:
    """Exports and exits: 0 done, 1 something to mend, 130 stopped by the user."""
    parser = argparse.ArgumentParser(prog="python -m jaxpara.inference.export_command", description=__doc__)
    parser.add_argument("workdir", metavar="W", type=Path, help="of a finished run")
    parser.add_argument("out", metavar="OUT", type=Path, help="the folder to write")
    parser.add_argument("--overwrite", action="store_true", help="replace an export that lies there")
    flags = parser.parse_args(argv)
    try:
        runtime.prepare()
        from jaxpara.inference import export  # after prepare(): this imports JAX

        for name, facts in export.write(flags.workdir, flags.out, overwrite=flags.overwrite).items():
            print(
                f"{name}: {facts['inputs']} to {facts['outputs']}, StableHLO for {' and '.join(facts['platforms'])};"
                f" differs from the network by {facts['difference']:.1e} of its greatest output, at most"
                f" {facts['tolerance']:g} is allowed"
            )
    except KeyboardInterrupt:
        processes.exit_with("stopped; nothing was exported", 130)
    except UserError as error:
        processes.exit_with(f"error: {error}", 1)
    except OSError as error:
        processes.exit_with(f"error: {refusal(error)}; nothing was exported, mend it and run again", 1)
    print(f"exported: {flags.out}, README.md says what it is")
    sys.exit(0)


if __name__ == "__main__":
    main()
