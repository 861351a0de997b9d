"""The commands: `python -m vehicle_lightning`, and `vehicle-lightning COMMAND` for each of them."""

import runpy
import sys
from pathlib import Path

from vehicle_lightning.cli import USAGE_ERROR

PACKAGE = Path(__file__).parent


def commands() -> dict[str, str]:
    """Return the name of each command and what it does: the first line of its package."""
    found = {}
    for main in sorted(PACKAGE.glob("*/__main__.py")):
        docstring = (main.parent / "__init__.py").read_text(encoding="utf-8")
        found[main.parent.name] = docstring.strip().strip('"').partition("\n")[0]
    return found


def main() -> None:
    """Run the command that is named first, as `python -m vehicle_lightning.COMMAND` does."""
    known = commands()
    name = sys.argv[1].replace("-", "_") if len(sys.argv) > 1 else ""
    if name in known:
        del sys.argv[1]
        runpy.run_module(f"vehicle_lightning.{name}", run_name="__main__", alter_sys=True)
        return
    width = max(map(len, known))
    print("usage: python -m vehicle_lightning.COMMAND [--help]\n")
    for command, what in known.items():
        print(f"  {command:{width}}  {what}")
    if name not in ("", "__help", "_h"):
        print(f"\nerror: there is no command {sys.argv[1]}.", file=sys.stderr)
        sys.exit(USAGE_ERROR)


if __name__ == "__main__":
    main()
