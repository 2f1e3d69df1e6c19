"""Makes the file that is kept of a finished run: `python tools/result_file.py RUN OUT --machine TEXT`.

`results/*/seed*.json` hold the run's final evaluation with every score, its curve of training scores, and the
machine, command and commit that it came from. A checkpoint is never kept.
"""

import argparse
import json
import subprocess
from pathlib import Path
from typing import Any

CURVE = "rollout/ep_rew_mean"
"""Mean raw score of the last training games, 100 at most."""


def result_of(run: Path, *, machine: str, command: str, commit: str) -> dict[str, Any]:
    """What is kept of the run; KeyError where it has not ended with an evaluation."""
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    logged = [row for row in map(json.loads, lines) if CURVE in row]
    named = ("config", "env_id", "algorithm", "seed", "env_steps")
    model = ("synthetic_rows", "real_rows", "gate_opened_at", "gate_verdict")
    return {
        **{key: summary[key] for key in named},
        **({key: summary[key] for key in model} if summary["synthetic_rows"] else {}),
        "machine": machine,
        "command": command,
        "commit": commit,
        "evaluation": summary["agent"],
        "curve": {"step": [row["step"] for row in logged], "ep_rew_mean": [row[CURVE] for row in logged]},
    }


def main() -> None:
    """Write the file, with folders above it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--machine", required=True)
    parser.add_argument("--command", required=True)
    parser.add_argument("--commit", help="of the code that ran; default: the present one")
    options = parser.parse_args()
    head = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    commit = options.commit or head.stdout.strip()
    result = result_of(options.run, machine=options.machine, command=options.command, commit=commit)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
