"""Each sentence of SECURITY.md that claims something has a test: `TESTS` says which, and what is missing fails.

The first part has the list, the second the tests that stand nowhere else.
"""

from __future__ import annotations

import ast
import io
import json
import logging
import re
import socket
import sys
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest
from PIL import Image

from lmd import cli, locks
from lmd.deployment.dicom.origin import KEPT
from tests import toy
from tests.test_house import ROOT, SOURCES, name_of
from tests.test_words import sentences

PAGE = (ROOT / "SECURITY.md").read_text()
HERE = "tests/test_security.py"
CODE, HOSTILE = "tests/methods/test_code_runs.py", "tests/data/dataset/test_hostile_files.py"
LARGE, READING = "tests/data/decode/test_large.py", "tests/test_reading.py"
SR = "tests/deployment/dicom/test_dicom_reports.py"

# How a sentence begins -> the tests of it, each as file::function.
TESTS: dict[str, list[str]] = {
    "testsxtest_securityxpy names the test": [f"{HERE}::test_each_sentence_has_its_test"],
    "Checksums tell damage": ["tests/test_seals.py::test_no_bit_of_a_tree_changes_unnoticed"],
    "They are no signatures": [f"{HERE}::test_whoever_changes_a_file_can_seal_it_again"],
    "constraintsxtxt pins": ["tests/test_house.py::test_every_dependency_is_pinned"],
    "make check asks a public list": [
        "tests/test_packaging.py::test_a_known_weakness_is_told",
        "tests/test_packaging.py::test_an_audit_without_a_network_is_one_line",
    ],
    "A run folder also holds means": [f"{HERE}::test_a_run_folder_holds_hashes_and_spreads"],
    "A report with pictures holds": ["tests/reporting/test_report.py::test_each_picture_is_a_small_jpeg"],
    "Folders have the rights": [f"{HERE}::test_files_have_the_rights_of_the_system"],
    "lmd encrypts nothing": [f"{HERE}::test_no_cryptography_is_used"],
    "lmd is for research": [f"{SR}::test_the_model_is_named_by_its_hash_and_research_use_is_said"],
    "Nothing leaves your machine": [
        f"{HERE}::test_from_images_to_reports_without_a_network",
        f"{HERE}::test_only_these_files_know_a_network",
    ],
    "Two things are downloaded": [f"{HERE}::test_only_these_files_know_a_network"],
    "Training fetches ImageNet weights": [
        "tests/models/test_hub.py::test_a_download_asks_for_safetensors_alone_and_is_kept",
        f"{HERE}::test_the_hub_is_asked_without_telemetry",
    ],
    "lmd prepare medmnist without": ["tests/data/dataset/test_sources_medmnist.py::test_the_package_downloads"],
    "Weights, checkpoints and statistics": [f"{HERE}::test_a_run_folder_has_files_of_these_kinds_alone"],
    "lmd writes no pickle": ["tests/test_house.py::test_nothing_is_loaded_that_could_run_code"],
    "With xxexecutor, submitit keeps": ["tests/test_cluster.py::test_what_is_pickled_are_three_texts"],
    "lmd reads one pickle alone": [
        "tests/models/test_packages.py::test_a_file_that_is_not_the_known_one_is_not_opened",
        "tests/test_house.py::test_nothing_is_loaded_that_could_run_code",
    ],
    "Metadata of patients stays": [f"{HERE}::test_a_run_folder_and_the_terminal_name_no_patient"],
    "Run folders hold image ids": [f"{HERE}::test_a_run_folder_and_the_terminal_name_no_patient"],
    "Groups (patients, lesions)": [f"{HERE}::test_a_run_folder_and_the_terminal_name_no_patient"],
    "**Logs** hold none": [
        f"{HERE}::test_a_run_folder_and_the_terminal_name_no_patient",
        "tests/data/decode/test_dicom.py::test_nothing_of_a_patient_is_written_or_told",
        f"{SR}::test_no_patient_gets_into_logs_warnings_or_the_terminal",
    ],
    "**DICOM reports**": [
        f"{SR}::test_nothing_but_the_white_list_is_taken_over",
        f"{HERE}::test_ten_tags_are_taken_over",
    ],
    "Private tags and text": [
        f"{SR}::test_nothing_but_the_white_list_is_taken_over",
        f"{SR}::test_pixels_that_may_have_text_are_not_in_the_heat_map",
    ],
    "lmd runs such a file in these cases": [f"{HERE}::test_each_row_of_the_table_has_its_test"],
    "In Python the word": [f"{CODE}::test_what_is_named_deeper_never_runs_by_itself"],
    "Without it, one line": [f"{CODE}::test_a_recipe_that_names_a_file"],
    "evaluate, predict, reports": [f"{CODE}::test_a_run_folder_that_names_a_file"],
    "They never run the file": [f"{CODE}::test_a_run_folder_that_names_a_file"],
    "A file that was changed since": [f"{CODE}::test_a_run_folder_that_names_a_file"],
    "lmd starts four kinds": [f"{HERE}::test_programs_are_this_python_in_safe_mode"],
    "One decodes DICOM frames": ["tests/data/decode/test_dicom.py::test_a_process_is_used_again"],
    "Trainings that run side by side": [f"{HERE}::test_programs_are_this_python_in_safe_mode"],
    "With xxexecutor submitit starts": [
        "tests/test_cluster.py::test_commands_run_as_jobs_and_a_failing_one_stops_no_other"
    ],
    "make targets call": [f"{HERE}::test_make_starts_this_python_and_its_tools"],
    "None of them takes its modules": [
        f"{CODE}::test_modules_beside_the_images_are_not_imported",
        "tests/test_cluster.py::test_a_file_beside_the_images_is_not_run",
        f"{HERE}::test_programs_are_this_python_in_safe_mode",
    ],
    "Pillow decodes": ["tests/data/decode/test_images.py::test_no_format_that_starts_a_program_is_tried"],
    "Formats for which Pillow": ["tests/data/decode/test_images.py::test_no_format_that_starts_a_program_is_tried"],
    "pydicom and pylibjpeg-openjpeg": ["tests/data/decode/test_dicom.py::test_lossless_syntaxes_of_pydicom"],
    "pyarrow reads Parquet": ["tests/data/dataset/reading/test_workbooks.py::test_a_parquet_table_is_the_csv_table"],
    "They run in the process": [f"{HERE}::test_programs_are_this_python_in_safe_mode"],
    "**Decoders that crash**": [
        "tests/data/decode/test_dicom.py::test_a_crash_of_the_decoder_is_one_line",
        f"{LARGE}::test_a_panic_of_a_decoder_is_one_line",
    ],
    "A crash there is one line": ["tests/data/decode/test_dicom.py::test_a_crash_of_the_decoder_is_one_line"],
    "A bad one is refused": ["tests/fuzz/test_fuzz.py::test_nothing_but_errors_of_ours_comes_out"],
    "YAML and JSON are read in one place": [f"{HERE}::test_yaml_and_json_of_others_are_read_in_one_place"],
    "Their size, depth and digits": [
        f"{READING}::test_what_is_beyond_the_bounds_is_told",
        f"{READING}::test_a_file_is_read_up_to_its_bound",
    ],
    "Aliases, tags, names": [
        f"{READING}::test_a_bomb_of_aliases_is_not_built",
        f"{READING}::test_json_has_numbers_alone",
        f"{READING}::test_yaml_holds_plain_values_alone",
    ],
    "A table has at most": [
        f"{HOSTILE}::test_a_table_larger_than_any",
        f"{HOSTILE}::test_a_parquet_file_of_a_billion_rows",
        f"{HERE}::test_the_bounds_of_a_table_are_those_of_the_page",
    ],
    "Both are checked before": [f"{HOSTILE}::test_a_workbook_that_unpacks_to_gigabytes"],
    "**Images** are bounded": [f"{LARGE}::test_300_megapixels_are_refused_by_their_header"],
    "No image takes more": [f"{LARGE}::test_what_is_allowed_at_its_largest_fits_as_well"],
    "**Manifests** name files": [f"{HOSTILE}::test_a_manifest_that_cannot_be"],
    "make fuzz gives": ["tests/fuzz/test_fuzz.py::test_nothing_but_errors_of_ours_comes_out"],
}  # fmt: skip
# What asks, advises or names a limit that no test can show.
NO_CLAIM = (
    "To report a weakness", "Please do not open", "What is **not** protected", "**From those who work as you.**",
    "Whoever may write into your folders", "**From the packages below.**", "Nothing checks what a package index",
    "**What a model remembers.**", "Weights can keep traces", "Give a run away only", "**Pictures.**",
    "**Who may see what.**", "**Patients from wrong answers.**", "lmd serve has a threat model", "**Network.**",
    "**Files.**", "**Patients.**", "So choose image ids", "A method may be a file", "It is a program: treat",
    "**Processes.**", "But python xm lmd does", "**Decoders in C.**", "Every file that lmd reads may come",
    "**Texts.**", "**Tables.**", "docs/reliability.md says",
)  # fmt: skip
# The rows of the table of what lets a method's file run.
ROWS = {
    "`lmd train --method FILE.py`, also with `--resume`": f"{CODE}::test_a_resume_that_names_the_file_is_one_with_the_runs_own_settings",
    '`lmd.train(method="FILE.py")` in Python': "tests/test_examples.py::test_a_method_of_your_own_is_trained_and_evaluated",
    "`method: FILE.py` in a recipe": f"{CODE}::test_a_recipe_that_names_a_file",
    "the run folder that `--resume` goes on with": f"{CODE}::test_a_run_folder_that_names_a_file",
    "`lmd methods FILE.py`": f"{CODE}::test_describing_a_file",
    "`lmd reproduce --methods FILE.py`": f"{CODE}::test_a_row_of_an_experiment",
}


def begins(sentence: str, starts: Any) -> list[str]:
    return [start for start in starts if sentence.startswith(start)]


def absent(test: str) -> bool:
    """Whether there is no such test."""
    file, _, name = test.partition("::")
    path = ROOT / file
    return not path.is_file() or re.search(rf"^def {name}\(", path.read_text(), re.MULTILINE) is None


def test_each_sentence_has_its_test() -> None:
    found = sentences(PAGE)
    assert len(found) > 60
    assert [one for one in found if len(begins(one, TESTS)) + len(begins(one, NO_CLAIM)) != 1] == []
    assert [start for start in (*TESTS, *NO_CLAIM) if not any(one.startswith(start) for one in found)] == []
    assert [test for tests in TESTS.values() for test in tests if absent(test)] == []


def test_a_sentence_without_a_test_is_found() -> None:
    assert begins("lmd is safe.", TESTS) == []
    assert absent("tests/test_security.py::test_none")
    assert absent("tests/none.py::test_none")


def test_each_row_of_the_table_has_its_test() -> None:
    table = PAGE.partition("| What names the file")[2].partition("\n\n")[0]
    rows = [line.split("|")[1].strip() for line in table.splitlines()[2:]]
    assert rows == list(ROWS)
    assert [test for test in ROWS.values() if absent(test)] == []


# From images to reports, with patients in the table and every connection refused.

SECRETS = ("patient-SECRET", "sex-SECRET", "ward-SECRET")


class Done(NamedTuple):
    """A folder with a data set and a run, all that was printed and logged, and all that was connected to."""

    place: Path
    told: str
    connected: list[str]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """What the command does from a table of patients to predictions, with every connection refused."""
    place, told = tmp_path_factory.mktemp("secure"), io.StringIO()
    connected: list[str] = []

    def refuse(*arguments: Any, **options: Any) -> Any:
        connected.append(repr(arguments[:2]))
        raise OSError("no network")

    log = logging.StreamHandler(told)
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(told), redirect_stderr(told):
        logging.getLogger().addHandler(log)
        for name in ("connect", "connect_ex", "sendto"):
            patch.setattr(socket.socket, name, refuse)
        for name in ("getaddrinfo", "gethostbyname", "create_connection"):
            patch.setattr(socket, name, refuse)
        write_table(place)
        for words in commands(place):
            patch.setattr(sys, "argv", ["lmd", *map(str, words)])
            with pytest.raises(SystemExit) as ended:
                cli.main()
            assert ended.value.code == 0, told.getvalue()
        logging.getLogger().removeHandler(log)
    return Done(place, told.getvalue(), connected)


def commands(place: Path) -> list[list[Any]]:
    data, run = place / "data", place / "run"
    tiny = "encoder=test_resnet pretrained=false size=16 batch=8 stage1.epochs=1".split()
    sets = [word for setting in tiny for word in ("--set", setting)]
    table = ["--table", place / "cases.csv", "--root", place / "images"]
    return [
        ["prepare", "table", *table, "--out", data],
        ["inspect", data],
        ["train", data, "--method", "ce", "--out", run, *sets],
        ["evaluate", run],
        ["predict", run, place / "images"],
    ]


def write_table(place: Path) -> None:
    """48 images of 24 patients, whose names and more stand in a table."""
    rows: list[dict[str, str]] = []
    (place / "images").mkdir()
    for number in range(48):
        label = 0 if number < 24 else 1 if number < 36 else 2
        Image.fromarray(toy.draw(label, number)).save(place / "images" / f"x{number:02d}.png")
        patient = f"{SECRETS[0]}-{number // 2}"
        row = {"image": f"x{number:02d}.png", "label": toy.CLASSES[label], "patient": patient}
        rows.append({**row, "sex": SECRETS[1], "ward": SECRETS[2]})
    pd.DataFrame(rows).to_csv(place / "cases.csv", index=False)


def test_from_images_to_reports_without_a_network(done: Done) -> None:
    assert (done.place / "run" / "report.html").is_file()
    assert "balanced accuracy" in done.told
    assert done.connected == []


def test_a_run_folder_and_the_terminal_name_no_patient(done: Done) -> None:
    assert SECRETS[0] in (done.place / "data" / "manifest.csv").read_text()
    table = pd.read_csv(done.place / "run" / "predictions-test.csv", dtype=str)
    assert {"id", "label", "group", "predicted"} <= set(table.columns)
    assert all(re.fullmatch(r"g\d+", group) for group in table["group"])
    files = [path for path in (done.place / "run").rglob("*") if path.is_file()]
    assert len(files) > 8
    assert len(done.told.splitlines()) > 60
    for secret in SECRETS:
        assert secret not in done.told
        assert [path.name for path in files if secret.encode() in path.read_bytes()] == []


def test_a_run_folder_has_files_of_these_kinds_alone(done: Done) -> None:
    endings = {path.suffix for path in (done.place / "run").rglob("*") if path.is_file()}
    assert endings <= {".safetensors", ".json", ".jsonl", ".csv", ".yaml", ".html", ".md"}
    assert ".safetensors" in endings


def test_a_run_folder_holds_hashes_and_spreads(done: Done) -> None:
    from safetensors import safe_open

    model = done.place / "run" / "model"
    assert len(json.loads((model / "images.json").read_text())) > 1
    with safe_open(model / "unlikeness.safetensors", framework="np") as file:
        assert {"mean", "covariance"} <= {name.rpartition(".")[2] for name in file.keys()}  # noqa: SIM118


def test_files_have_the_rights_of_the_system(done: Done) -> None:
    weights = done.place / "run" / "model" / "model.safetensors"
    assert weights.stat().st_mode & 0o777 == 0o644


def test_whoever_changes_a_file_can_seal_it_again(done: Done, tmp_path: Path) -> None:
    from lmd.seals import read_sealed_json, sealed_json

    card = json.loads((done.place / "run" / "model" / "model.json").read_text())
    changed = {name: value for name, value in card.items() if name != "sha256"} | {"method": "another"}
    path = tmp_path / "model.json"
    path.write_text(sealed_json(changed))
    assert "another" in json.dumps(read_sealed_json(path))


def test_ten_tags_are_taken_over() -> None:
    assert len(KEPT) == 10


# The code.


@cache
def imports(path: Path) -> set[str]:
    """The modules that a file imports, also inside of functions."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    of = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    return (plain | of) - {"urllib.parse"}  # It takes addresses apart, and asks nobody.


def importing(*modules: str) -> set[str]:
    """The files that import one of some modules."""
    silent = {"urllib.parse"}  # It asks nobody.
    tops = {path: {name.partition(".")[0] for name in set(imports(path)) - silent} for path in SOURCES}
    return {name_of(path).removeprefix("src/lmd/") for path, names in tops.items() if names & set(modules)}


SERVING = "deployment/serving/"  # Of `lmd serve`, which answers and does not ask.


def test_only_these_files_know_a_network() -> None:
    asking = importing(
        "urllib", "http", "requests", "httpx", "aiohttp", "ftplib", "smtplib", "huggingface_hub"
    )
    assert {name for name in asking if not name.startswith(SERVING)} == {"models/hub.py"}
    sockets = {name for name in importing("socket", "ssl", "asyncio") if not name.startswith(SERVING)}
    # Of these, one asks for the name of this machine, and one for a free port on it.
    assert sockets == {"launching.py", "locks.py"}
    assert "127.0.0.1" in (ROOT / "src" / "lmd" / "launching.py").read_text()
    downloads = [name_of(path) for path in SOURCES if "download=True" in path.read_text()]
    assert downloads == ["src/lmd/data/dataset/sources/medmnist.py"]


def test_the_hub_is_asked_without_telemetry() -> None:
    from huggingface_hub import constants

    from lmd.models import hub

    before = constants.HF_HUB_DISABLE_TELEMETRY
    with hub._silence():
        assert constants.HF_HUB_DISABLE_TELEMETRY is True
    assert before == constants.HF_HUB_DISABLE_TELEMETRY


def test_no_cryptography_is_used() -> None:
    """`lmd serve` may compare tokens; nothing else knows a secret."""
    using = importing("cryptography", "ssl", "hmac", "secrets", "getpass")
    assert [name for name in using if not name.startswith(SERVING)] == []


def test_programs_are_this_python_in_safe_mode() -> None:
    """Whatever starts a program names `sys.executable`, and keeps the current folder out of its modules."""
    starting = {
        path
        for path in SOURCES
        for line in path.read_text().splitlines()
        if re.search(r"subprocess\.(Popen|run|call)\(", line)
    }
    names = {name_of(path).removeprefix("src/lmd/") for path in starting}
    assert names == {"data/decode/dicom_worker.py", "jobs/cluster.py", "jobs/workers.py", "launching.py"}
    for path in starting:
        assert re.search(r"\[sys\.executable, \"-P\"", path.read_text()), path
    for path in SOURCES:
        assert not re.search(
            r"shell=True|os\.(system|popen|exec\w*|spawn\w*|posix_spawn)\(|import pty", path.read_text()
        )


def test_make_starts_this_python_and_its_tools() -> None:
    lines = re.findall(r"^\t@?(.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    words = {re.sub(r"^(OMP_NUM_THREADS=1 )?", "", line).split(" ")[0] for line in lines}
    setting_up = {"python=;", "if", "echo", "touch", "rm", "mkdir", "else", "fi", "uv", "$$python"}
    assert {word for word in words if word and not word.startswith("$(BIN)/")} <= setting_up


def test_yaml_and_json_of_others_are_read_in_one_place() -> None:
    """Elsewhere JSON is parsed only where a process of ours has just made it."""
    pattern = re.compile(r"\byaml\.(safe_)?load|(?<!>>> list\()\bjson\.loads?\(")
    parsing = {name_of(path).removeprefix("src/lmd/") for path in SOURCES if pattern.search(path.read_text())}
    between_ours = {
        "data/decode/dicom_worker.py",
        "jobs/__main__.py",
        "jobs/cluster.py",
        "training/together.py",
    }
    in_memory = {"folds/pooled_card.py", "tuning/store.py"}
    shipped = {"deployment/export/load_program.py"}  # Goes along with an export, where there is no lmd.
    assert parsing - between_ours - in_memory - shipped == {"reading.py"}


@pytest.mark.parametrize("text", ["[" * 100_000, "9" * 4000, '{"pid": 1}', "\xff"])
def test_a_hostile_lock_is_told_as_that_of_another_process(text: str, tmp_path: Path) -> None:
    (tmp_path / locks.LOCK).write_text(text, encoding="latin-1")
    assert "is being written by another process" in str(locks._held(tmp_path))


def test_the_bounds_of_a_table_are_those_of_the_page() -> None:
    from lmd.data.dataset.reading.table_kinds import MOST_BYTES, MOST_CELLS

    assert (MOST_BYTES, MOST_CELLS) == (256 * 2**20, 20_000_000)
    assert "256 MB and 20 million cells" in PAGE
