"""Measures what each switch of DDQN does on Catch: `python tools/switch_effects.py OUT --machine --commit`.

Every arm is the preset `catch` without a model, one switch away from the first arm. It trains until its last
100 training games return 0.8 on average; what counts is how many agent steps that took. Runs that OUT has are
kept, so a measurement that was cut off goes on. docs/algorithms/ddqn.md shows the file as a table.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

BASE = {
    "training.real_ratio": "1",
    "training.updates_per_step": "4",
    "training.total_steps": "6000",
    "evaluation.final_episodes": "0",
    "log.every": "2000",
    "checkpoint.every": "6000",
    "threads": "1",
}
"""Settings of every arm, over the preset `catch`."""
C51 = {"agent.distribution": "c51", "agent.v_min": "-2", "agent.v_max": "2"}
ARMS: Mapping[str, Mapping[str, str]] = {
    "none": {},
    "single instead of double": {"agent.double": "false"},
    "dueling": {"agent.dueling": "true"},
    "C51": C51,
    "quantiles": {"agent.distribution": "quantile"},
    "3 steps": {"agent.n_step": "3"},
    "10 to 3 steps": {"agent.n_step": "3", "agent.n_step_start": "10", "agent.anneal_steps": "3000"},
    "discount 0.9 to 0.99": {"agent.gamma_start": "0.9", "agent.anneal_steps": "3000"},
    "prioritised": {"agent.prioritized": "true"},
    "random shift of 2 pixels": {"agent.random_shift": "2"},
    "target copied every 100 updates": {"agent.target_tau": "1", "agent.target_period": "100"},
    "acts with the online network": {"agent.act_with_target": "false"},
    "weight decay 0.1": {"agent.weight_decay": "0.1"},
    "1 update a step": {"training.updates_per_step": "1"},
    "8 updates a step": {"training.updates_per_step": "8"},
    "resets every 2,000 updates": {"agent.reset_every": "2000"},
    "twice the channels": {"agent.width": "2"},
    "IMPALA encoder": {"agent.encoder": "impala"},
    "self-prediction, 3 steps": {"agent.spr_steps": "3"},
}
"""Name of a switch -> its settings."""


def measure(overrides: Mapping[str, str], seed: int) -> dict[str, Any]:
    """Train one arm; its seed, agent steps, gradient steps, and whether 0.8 was reached."""
    options = [word for key, value in {**BASE, **overrides}.items() for word in (f"--{key}", value)]
    with tempfile.TemporaryDirectory() as folder:
        command = ["mbpo-fast", "train", "--config", "catch", "--seed", str(seed), "--run", f"{folder}/run"]
        program = str(Path(sys.executable).with_name(command[0]))
        subprocess.run([program, *command[1:], *options], check=True, stdout=subprocess.DEVNULL)
        summary = json.loads((Path(folder) / "run/summary.json").read_text(encoding="utf-8"))
    reached = summary["stopped"] == "early_stopping"
    return {"seed": seed, "reached": reached, **{k: summary[k] for k in ("env_steps", "gradient_steps")}}


def main() -> None:
    """Measure every arm and seed that the file lacks, writing it after each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("out", type=Path)
    parser.add_argument("--machine", required=True)
    parser.add_argument("--commit", required=True)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    found: dict[str, Any] = {"machine": options.machine, "commit": options.commit, "base": BASE, "arms": {}}
    if options.out.exists():
        found = json.loads(options.out.read_text(encoding="utf-8"))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for name, overrides in ARMS.items():
        arm = found["arms"].setdefault(name, {"settings": dict(overrides), "runs": []})
        for seed in range(len(arm["runs"]), options.seeds):
            arm["runs"].append(measure(overrides, seed))
            print(name, arm["runs"][-1], flush=True)
            options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
