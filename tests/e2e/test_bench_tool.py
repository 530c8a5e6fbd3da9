"""imp-bench: combinations, forms of output, mistakes on its command line."""

import csv
import io
import json
import subprocess

from conftest import BUILD, GOLDEN

MODEL = GOLDEN / "llama" / "model.gguf"


def bench(*arguments):
    command = [BUILD / "bin" / "imp-bench", *map(str, arguments)]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)


def measured(*arguments):
    done = bench("--model", MODEL, "-p", 8, "-n", 4, "-r", 2, "-t", 1, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_table():
    lines = measured("--no-machine").splitlines()
    assert lines[0].startswith(f"{MODEL}: llama F32")
    assert [line.split()[0] for line in lines[-2:]] == ["pp8", "tg4"]


def test_json_has_every_combination():
    told = json.loads(measured("-o", "json", "-p", "8,16", "-n", "0,4", "-d", "0,10", "-s", "1,3"))
    names = [result["test"] for result in told["results"]]
    one = ["pp8", "pp16", "tg4", "pp8 @ d10", "pp16 @ d10", "tg4 @ d10"]
    assert names == one + [f"{name} x 3" for name in one]
    assert all(0 < result["tokens_per_second"] <= result["best"] for result in told["results"])
    assert all(0 < result["read_fraction"] < 10 and 0 < result["math_fraction"] < 10 for result in told["results"])
    assert told["machine"]["read_bytes_per_second"] > 0 and told["model"]["parameters"] > 0


def test_csv():
    rows = list(csv.DictReader(io.StringIO(measured("-o", "csv", "--no-machine"))))
    assert [row["test"] for row in rows] == ["pp8", "tg4"]
    assert all(float(row["tokens_per_second"]) > 0 and int(row["reps"]) == 2 for row in rows)


def test_mistakes():
    for arguments in (["-p", "8"], ["-m", MODEL, "-p", "x"], ["-m", MODEL, "-p", "1,"], ["-m", MODEL, "-s", "0"],
                      ["-m", MODEL, "-o", "xml"], ["-m", MODEL, "extra"], ["-m", MODEL, "--nothing"]):
        done = bench(*arguments)
        assert done.returncode == 2 and done.stdout == "" and done.stderr != "", arguments
    done = bench("-m", "/nowhere.gguf")
    assert done.returncode == 1 and "/nowhere.gguf" in done.stderr
    assert bench("--help").stdout.startswith("usage: imp-bench")
    assert bench("--version").stdout.startswith("imp-bench ")
