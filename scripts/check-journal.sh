#!/usr/bin/env bash
# Turns journals into a verdict: would a real router take every command that was sent to one?
#
# usage: check-journal.sh [DIR|FILE...]     default: target/journal
#
# Each list posted to /configure is given to the schema check of VyOS 1.5 in $BB_SHARED/vyos
# (default: ../shared beside the clone). Without it a line says so and nothing is checked.
# Ends with 1 when a command is rejected, and prints where it stands.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

check=${BB_SHARED:-$root/../shared}/vyos/check_set.py
if [[ ! -f $check ]]; then
    echo "skipped: no schema of a router at $check (BB_SHARED)"
    exit 0
fi
if [[ $# -eq 0 ]]; then
    set -- "$root/target/journal"
fi
exec python3 - "$check" "$@" <<'PYTHON'
import collections
import json
import pathlib
import subprocess
import sys

# A masked secret is checked as a key of WireGuard, which is what is masked most.
UNMASKED = "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2U="


def journals(names):
    for name in map(pathlib.Path, names):
        if not name.exists():
            sys.exit(f"check-journal.sh: {name} is not there")
        yield from sorted(name.rglob("*.jsonl")) if name.is_dir() else [name]


def commands(body):
    """The commands of a body: one, a list, or a list beside a key."""
    if isinstance(body, dict):
        body = body.get("commands", [body])
    for command in body if isinstance(body, list) else []:
        words = list(command["path"])
        if command.get("value"):
            words.append(command["value"])
        yield command["op"], tuple(UNMASKED if word == "***" else word for word in words)


def entries(file):
    for number, line in enumerate(file.read_text().splitlines(), 1):
        try:
            entry = json.loads(line)
        except ValueError:
            # The last line of a process that was killed.
            print(f"{file}:{number} is not a whole line", file=sys.stderr)
            continue
        if entry["method"] == "POST" and entry["path"] == "/configure":
            yield number, entry["body"]


check, *names = sys.argv[1:]
files = lists = 0
seen = collections.Counter()
first = {}
for file in journals(names):
    files += 1
    for number, body in entries(file):
        lists += 1
        for command in commands(body):
            seen[command] += 1
            first.setdefault(command, f"{file}:{number}")

asked = list(seen)
told = json.dumps([{"op": op, "path": list(path)} for op, path in asked])
answer = subprocess.run([sys.executable, check, "-j"], input=told, capture_output=True, text=True)
results = json.loads(answer.stdout)["results"] if asked else []
if len(results) != len(asked):
    sys.exit(f"check-journal.sh: {len(asked)} commands asked, {len(results)} answered")

verdicts = collections.Counter()
for command, result in zip(asked, results):
    verdicts[result["status"]] += seen[command]
    if result["status"] != "ok":
        op, path = command
        print(f"{result['status']} {first[command]}: {op} {' '.join(path)}: {result['message']}")
print(
    f"journals: {files} files, {lists} lists, {sum(seen.values())} commands "
    f"({len(seen)} different): {verdicts['ok'] + verdicts['warn']} accepted "
    f"({verdicts['warn']} with a warning), {verdicts['reject']} rejected"
)
sys.exit(1 if verdicts["reject"] else 0)
PYTHON
