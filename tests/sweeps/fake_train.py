"""Stands in for `mbpo-fast train`: options as the sweep sends them, a run folder that can be gone on with.

Ten steps, each a line of metrics with `score`; SIGTERM saves and exits with 75. starts.txt and steps.txt
hold what was really done, so that a test can count.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

STEPS = 10


def main() -> int:
    options = dict(word.removeprefix("--").split("=", 1) for word in sys.argv[1:])
    folder = Path(options["run"])
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "starts.txt").open("a") as file:
        file.write(f"{os.getpid()}\n")
    time.sleep(float(os.environ.get("FAKE_START_SECONDS", "0")))
    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
    if "FAKE_BUSY" in os.environ:  # as a real run in a long fit: what it is told it does much later
        signal.signal(signal.SIGTERM, lambda *_: None)
        signal.signal(signal.SIGINT, lambda *_: None)
    if options.get("env.id") == "Broken":
        print("it broke")
        return 3
    score = float(options.get("agent.learning_rate", "0")) + 0.01 * int(options.get("seed", "0"))
    metrics = folder / "metrics.jsonl"
    done = len(metrics.read_text().splitlines()) if metrics.exists() else 0
    for step in range(done, STEPS):
        if stop:
            return 75
        time.sleep(float(os.environ.get("FAKE_SECONDS", "0")))
        with metrics.open("a") as file:
            file.write(json.dumps({"step": step, "score": score * (step + 1)}) + "\n")
    with (folder / "finished.txt").open("a") as file:
        file.write("once\n")
    (folder / "summary.json").write_text(json.dumps({"wall_seconds": 1.0, "agent": {"mean": 10 * score}}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
