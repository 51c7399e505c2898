#!/usr/bin/env python3
"""Turns the output of `cargo test` into progress, a log, and one line of counts per level.

usage: cargo test ... -- --show-output 2>&1 | levels.py LOG

The level of a test is told by where it lives, so that nobody has to keep a list:
  unit      inside the crates, and their documentation examples
  golden    a module or file named golden*
  contract  the tests folder of a stand-in or of a driver (lab/*, controller/*)
  fake, api, chart, lab   a file of that prefix in tests/tests
A test that printed a line beginning with "skipped" passed without having looked at anything;
such tests are counted apart.
"""

import pathlib
import re
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
LEVELS = ["unit", "golden", "contract", "fake", "api", "chart", "lab", "other"]
RUNNING = re.compile(r"^\s*Running (?:unittests )?(\S+) \(.*/([\w-]+)-[0-9a-f]{16}\)")
DOCTESTS = re.compile(r"^\s*Doc-tests (\S+)")
TEST = re.compile(r"^test (\S+)(?: - .*)? \.\.\. (ok|FAILED|ignored)")
RESULT = re.compile(r"^test result: (ok|FAILED)")
# Seconds without a word before we say that it still runs.
SILENCE = 30


def level_of_binary(path: str, name: str) -> str:
    if path.startswith("src/"):
        return "unit"
    if name.startswith("golden"):
        return "golden"
    if (ROOT / "tests" / path).is_file():
        prefix = name.split("_")[0]
        return prefix if prefix in LEVELS else "other"
    for folder in ("lab/*", "controller/vyos", "controller/proxmox"):
        if any(ROOT.glob(f"{folder}/{path}")):
            return "contract"
    return "unit"


def level_of_test(binary_level: str, test: str) -> str:
    if binary_level == "unit" and any(part.startswith("golden") for part in test.split("::")):
        return "golden"
    return binary_level


class Run:
    """Follows the output of one `cargo test`."""

    def __init__(self) -> None:
        self.began = self.spoke = time.monotonic()
        self.counts = {level: 0 for level in LEVELS}
        self.failed: list[str] = []
        self.ignored = self.skipped = self.done = 0
        self.binary, self.level = "", "unit"
        self.lines: list[str] = []

    def say(self, words: str) -> None:
        self.spoke = time.monotonic()
        print(f"[{self.spoke - self.began:4.0f}s] {words}", flush=True)

    def enter(self, binary: str, level: str) -> None:
        self.binary, self.level = binary, level
        self.lines, self.done = [], 0

    def take(self, line: str) -> None:
        if match := RUNNING.match(line):
            self.enter(match[2], level_of_binary(match[1], match[2]))
        elif match := DOCTESTS.match(line):
            self.enter(f"{match[1]} (documentation)", "unit")
        self.lines.append(line)
        if match := TEST.match(line):
            self.count(match[1], match[2])
        elif re.match(r"skipped\b", line, re.IGNORECASE):
            self.skipped += 1
        elif match := RESULT.match(line):
            self.leave(match[1] == "ok")
        elif line.startswith("error"):
            self.say(line.rstrip())

    def count(self, test: str, outcome: str) -> None:
        self.done += 1
        if outcome == "ok":
            self.counts[level_of_test(self.level, test)] += 1
        elif outcome == "ignored":
            self.ignored += 1
        else:
            self.failed.append(f"{self.binary}: {test}")
            self.say(f"FAILED {self.binary}: {test}")

    def leave(self, passed: bool) -> None:
        if not passed:
            sys.stdout.writelines(self.lines)
        if self.done:
            self.say(f"{self.binary}: {self.done} tests")

    def watch(self) -> None:
        while True:
            time.sleep(1)
            if time.monotonic() - self.spoke > SILENCE:
                self.say(f"still running {self.binary or 'the first'}: {self.done} tests done")

    def close(self) -> int:
        passed = sum(self.counts.values())
        for name in self.failed:
            print(f"FAILED {name}")
        print(f"tests: {passed} passed, {len(self.failed)} failed, {self.ignored} skipped")
        shown = [f"{level} {n}" for level, n in self.counts.items() if n or level != "other"]
        if self.skipped:
            shown.append(f"of these {self.skipped} had nothing to look at")
        minutes = (time.monotonic() - self.began) / 60
        print(f"levels: {', '.join(shown)}; {len(self.failed)} failed; {minutes:.1f} min", flush=True)
        return 1 if self.failed or not passed else 0


def main() -> int:
    run = Run()
    threading.Thread(target=run.watch, daemon=True).start()
    log = pathlib.Path(sys.argv[1])
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as out:
        for line in sys.stdin:
            out.write(line)
            run.take(line)
    # What is judged once all tests have run, such as the journals that they left.
    for check in sys.argv[2:]:
        if subprocess.run([check], check=False).returncode:
            run.failed.append(check)
    return run.close()


if __name__ == "__main__":
    sys.exit(main())
