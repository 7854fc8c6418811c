"""Removes the safety rules of mutations.txt one at a time and sees whether the simulator notices.

All of them are built into one binary, in a copy of the tree, each behind a switch in the environment. Prints under which seed each one
was noticed; fails if one was not within SEEDS seeds.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
COPY = pathlib.Path(sys.argv[1])
SEEDS = os.environ.get("SEEDS", "3000")


def mutations():
    blocks = (ROOT / "tests/sim/mutations.txt").read_text().split("\n\n")[1:]
    for block in blocks:
        name, file, place, instead = block.strip().split("\n")
        yield name, file, place.replace("\\n", "\n"), instead


def copy():
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE)
    texts = {file: (ROOT / file).read_bytes() for file in listed.stdout.split() if (ROOT / file).exists()}
    for index, (name, file, place, instead) in enumerate(mutations()):
        before, mutated, after = re.split("[⟦⟧]", place)
        text = texts[file].decode()
        # An earlier mutation may have the same place.
        if text.count(before + mutated + after) == 1:
            found, rest = mutated, after
        else:
            start = text.index(before) + len(before)
            end = text.index(after, start)
            found, rest = text[start:end], after
        switch = f'{{ static ON: std::sync::LazyLock<bool> = std::sync::LazyLock::new(|| std::env::var("MUTATION").is_ok_and(|m| m == "{index}")); *ON }}'
        wrapped = f"(if {switch} {{ {instead} }} else {{ {found} }})"
        texts[file] = text.replace(before + found + rest, before + wrapped + rest, 1).encode()
    # Another version, so that what is built of the two trees is not taken for the same.
    texts["Cargo.toml"] = texts["Cargo.toml"].replace(b'version = "0.1.0"', b'version = "0.1.0-mutants"', 1)
    for file, text in texts.items():
        path = COPY / file
        if not path.exists() or path.read_bytes() != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text)
            shutil.copymode(ROOT / file, path)


def build():
    command = ["cargo", "test", "--workspace", "--test", "main", "--no-run", "--quiet", "--message-format", "json"]
    built = subprocess.run(command, cwd=COPY, check=False, text=True, stdout=subprocess.PIPE)
    binaries = re.findall(r'"executable":"([^"]*/main-[^"]*)"', built.stdout)
    if built.returncode != 0 or not binaries:
        sys.exit("the mutants do not build:\n" + "\n".join(re.findall(r'"rendered":"((?:[^"\\]|\\.)*)"', built.stdout)).replace("\\n", "\n"))
    return binaries[-1]


def main():
    copy()
    binary = build()
    chosen = os.environ.get("MUTANT")
    survivors = []
    for index, (name, *_) in enumerate(mutations()):
        if chosen is not None and chosen != str(index):
            continue
        environment = dict(os.environ, MUTATION=str(index), SEEDS=SEEDS, TRIES="0", RUST_BACKTRACE="0")
        began = time.monotonic()
        run = subprocess.run([binary, "sim::every_crash", "--nocapture"], cwd=COPY, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        seconds = time.monotonic() - began
        noticed = re.search(r"^seed (\d+): (.*)", run.stdout, re.MULTILINE)
        if noticed:
            print(f"{index:3} {name}: noticed under seed {noticed[1]} after {seconds:.0f} s: {noticed[2][:160]}", flush=True)
        else:
            survivors.append(name)
            print(f"{index:3} {name}: NOT NOTICED in {SEEDS} seeds, {seconds:.0f} s", flush=True)
    if survivors:
        sys.exit(f"{len(survivors)} mutations were not noticed: {', '.join(survivors)}")


main()
