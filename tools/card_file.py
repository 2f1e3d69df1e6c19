"""Makes the file that is kept of a world model's report card: `python tools/card_file.py RUN CARD OUT ...`.

`results/cards/*.json` hold what `mbpo-fast model-eval RUN --json CARD` said and, as `training`, how
`mbpo-fast model-fit` made RUN: command, policy that played, commit, CPU minutes and curve.
A checkpoint is never kept.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from mbpo_fast.training.logger import read_metrics
from mbpo_fast.training.model_fit import CURVE_FILE


def card_of(run: Path, card: dict[str, Any], *, command: str, policy: str, commit: str) -> dict[str, Any]:
    """What is kept of the card of the fit in `run`; ValueError where they are not of one model."""
    curve = read_metrics(run, CURVE_FILE)
    judged, made = card["model"]["gradient_steps"], curve[-1]["updates"]
    if judged != made:
        raise ValueError(f"{run}: expected a card of {made:,.0f} updates, got one of {judged:,}")
    training = {
        "command": command,
        "policy": policy,
        "commit": commit,
        "cpu_minutes": round(curve[-1]["cpu_seconds"] / 60, 1),
        "curve": curve,
    }
    return {key: value for key, value in card.items() if key != "video"} | {"training": training}


def main() -> None:
    """Write the file, with folders above it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("run", type=Path)
    parser.add_argument("card", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--command", required=True, help="of the fit, without paths of this machine")
    parser.add_argument("--policy", required=True, help="that played half of the games")
    parser.add_argument("--commit", required=True, help="of the code that ran")
    options = parser.parse_args()
    card = json.loads(options.card.read_text(encoding="utf-8"))
    result = card_of(options.run, card, command=options.command, policy=options.policy, commit=options.commit)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
