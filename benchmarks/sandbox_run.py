"""How long the default run takes, from the command to the file, and the worker from its start to the first step.

python -m benchmarks.sandbox_run
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from trainers.paths import PROGRAM
from trainers.rundir import RunDir, all_records


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = RunDir(Path(folder) / "run")
        begun = time.time()
        subprocess.run(
            [sys.executable, "-m", "trainers.cli", "train", "sandbox", "--run-dir", str(run.path)],
            cwd=PROGRAM,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        seconds = time.time() - begun
        records = list(all_records(run.events))
        first = next(record["time"] for record in records if record["kind"] == "step")
        steps = [record for record in records if record["kind"] == "step"]
        finished = next(record for record in records if record["kind"] == "run_finished")
    print(f"train sandbox, command to file   {seconds:.0f} s (must be 180 s or less)")
    print(f"worker start to first step       {first - begun:.1f} s (must be 15 s or less)")
    print(f"seconds per step, mean           {sum(step['seconds'] for step in steps) / len(steps):.3f}")
    print(finished["summary"])


if __name__ == "__main__":
    main()
