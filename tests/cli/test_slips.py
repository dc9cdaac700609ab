"""A slip is answered in one line that offers the nearest, and at once: torch takes seconds to load."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from lmd import methods
from lmd.cli import static
from lmd.cli.static import setting_names as names_in_source
from lmd.data.asked import image_files, once_each
from lmd.errors import DataError
from lmd.fields import setting_names
from tests import toy
from tests.command import Command, child_seconds, refused

EXAMPLE = Path(__file__).parents[2] / "examples" / "my_method.py"


# Words of the command, and parts of the answer. DATA is a dataset folder, RUN a finished run, IMAGE an image.
SLIPS: list[tuple[str, list[str]]] = [
    ("trian", ["lmd has no verb 'trian'; did you mean 'train'?"]),
    ("zzz", ["lmd has no verb 'zzz'; known: "]),
    ("--versoin", ["lmd has no option --versoin; did you mean --version?"]),
    ("help trian", ["lmd has no verb 'trian'"]),
    ("train", ["train needs DATA (a dataset folder made by 'lmd prepare')"]),
    ("train DATA", ["train needs --out DIR (the run folder to make)"]),
    ("train DATA --out R --methd ce", ["train has no option --methd; did you mean --method?"]),
    ("train DATA --out R --method ldm", ["unknown method 'ldm'; did you mean 'lmd'?"]),
    ("train DATA --out R --method none.py", ["no method file none.py"]),
    ("train DATA --out R --budget shrt", ["unknown budget 'shrt'; did you mean 'short'?"]),
    ("train DATA --out R --set stag1.epochs=3", ["setting 'stag1.epochs'; did you mean 'stage1.epochs'?"]),
    ("train DATA --out R --method ce --set stage1.epoch=3", ["did you mean 'stage1.epochs'?"]),
    (
        "train DATA --out R --method ce --set m_step.l2=3",
        ["unknown setting 'm_step'; 'lmd methods ce' lists them"],
    ),
    ("train DATA --out R --method ce --set stage2.lr=3", ["setting 'stage2'; 'lmd methods ce' lists them"]),
    ("train DATA --out R --method lmd --recipe RECIPE", ["is for method 'ce', not for 'lmd'"]),
    ("train DATA --out R --set zzz=3", ["unknown setting 'zzz'; 'lmd methods lmd' lists them"]),
    ("train DATA --out R --set stage1.epochs", ["--set needs name=value, found 'stage1.epochs'"]),
    ("train DATA --out R --set", ["train: --set needs a value, as in --set NAME=VALUE"]),
    ("train DATA --out R --recipe RECIPE", ["unknown setting 'stage1.epoch'; did you mean 'stage1.epochs'?"]),
    ("train DATA --out R --recipe none.yaml", ["cannot read recipe none.yaml: No such file or directory"]),
    ("train DATA --out R --method CE", ["unknown method 'CE'; did you mean 'ce'?"]),
    ("train DATA --out R --set size=thirty", ["setting size = 'thirty': must be a whole number"]),
    ("train DATA --out R --set size=0", ["setting size = 0: must be at least 8"]),
    ("train DATA --out R --set pretrained=maybe", ["setting pretrained = 'maybe': must be true or false"]),
    ("train DATA --out RECIPE", ["recipe.yaml is a file: name a folder"]),
    ("train DATA --out OTHERS", ["others is not empty"]),
    ("methods LMD", ["unknown method 'LMD'; did you mean 'lmd'?"]),
    ("train DATA --out R --seed one", ["train: --seed one: must be a whole number"]),
    ("train DATA --out R --seed -1", ["train: --seed -1: must be at least 0"]),
    ("train DATA --out R --seed 1 --seed 2", ["train: --seed is given twice"]),
    ("train DATA OTHER --out R", ["unexpected argument 'OTHER': train takes DATA and options"]),
    ("train none --out R", ["no dataset folder none"]),
    ("train IMAGES --out R", ["is not a dataset folder"]),
    ("evaluate none", ["none has no trained model: no such run"]),
    ("evaluate IMAGES", ["has no trained model"]),
    ("evaluate RUN --split tset", ["unknown split 'tset'; did you mean 'test'?"]),
    ("evaluate RUN --data none", ["no dataset folder none"]),
    ("predict none IMAGE", ["none has no trained model: no such run"]),
    ("predict RUN", ["predict needs IMAGE... (image files, or folders of such)"]),
    ("predict RUN none.jpg", ["no image none.jpg"]),
    ("predict RUN IMAGE none.jpg", ["no image none.jpg"]),
    ("predict RUN EMPTY", ["no image in ", "empty: it has no file"]),
    ("predict RUN IMAGES EMPTY", ["no image in ", "empty"]),
    (
        "predict RUN OTHERS",
        ["no image in ", "others: its files are 2 with .txt, 1 with no extension; images end"],
    ),
    ("predict RUN IMAGE --frame 0", ["predict: --frame 0: must be at least 1"]),
    ("predict RUN IMAGE --out RECIPE", ["recipe.yaml exists already"]),
    ("inspect none", ["no dataset folder none"]),
    ("inspect DATA --near 70", ["inspect: --near 70: must be from 0 to 64"]),
    ("inspect DATA --qick", ["inspect has no option --qick; did you mean --quick?"]),
    ("reproduce tabel1 --data DATA --out R", ["unknown experiment 'tabel1'; did you mean 'table1'?"]),
    ("reproduce table1 --out R", ["reproduce needs --data DIR (a dataset folder; "]),
    ("reproduce table1 --data DATA --out R --budget shrt", ["unknown budget 'shrt'; did you mean 'short'?"]),
    ("reproduce table1 --data DATA --out R --seeds 0", ["reproduce: --seeds 0: must be at least 1"]),
    ("reproduce table1 --data DATA --out R --methods lmdd", ["has no 'lmdd'; did you mean 'lmd'?"]),
    ("reproduce table1 --data none --out R", ["no dataset folder none"]),
    ("paper tabel1", ["did you mean 'table1'?"]),
    ("methods lmdd", ["unknown method 'lmdd'; did you mean 'lmd'?"]),
    ("sources foldr", ["unknown source 'foldr'; did you mean 'folder'?"]),
    ("prepare foldr --out R", ["unknown source 'foldr'; did you mean 'folder'?"]),
    ("prepare", ["prepare needs a SOURCE, one of folder, "]),
    ("prepare folder --rot x --out R", ["prepare folder has no option --rot; did you mean --root?"]),
    ("prepare folder --out R", ["prepare folder needs --root"]),
    ("prepare folder --root none --out R", ["no folder none"]),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the words of the slips stand for."""
    root = tmp_path_factory.mktemp("place")
    toy.make_dataset(root / "made")
    (root / "empty").mkdir()
    (root / "others").mkdir()
    for name in ("a.txt", "b.TXT", "README", ".hidden.jpg"):
        (root / "others" / name).write_text("text")
    (root / "images").mkdir()
    Image.new("RGB", (20, 20)).save(root / "images" / "one.png")
    (root / "recipe.yaml").write_text("method: ce\nstage1: {epoch: 3}\n")
    return root


@pytest.fixture(scope="module")
def run(place: Path) -> Path:
    """A finished run."""
    import lmd

    folder = lmd.train(place / "made" / "data", method="ce", settings=toy.COMMON, out=place / "run")
    return folder.path


def filled(text: str, place: Path) -> list[str]:
    known = {
        "DATA": place / "made" / "data", "RUN": place / "run", "IMAGE": place / "images" / "one.png",
        "IMAGES": place / "images", "EMPTY": place / "empty", "OTHERS": place / "others",
        "RECIPE": place / "recipe.yaml", "R": place / "never",
    }  # fmt: skip
    return [str(known.get(word, word)) for word in text.split()]


@pytest.mark.parametrize(("text", "answer"), SLIPS, ids=[text for text, _ in SLIPS])
def test_a_slip_is_one_line_that_says_what_is_wrong(
    lmd: Command, place: Path, run: Path, text: str, answer: list[str]
) -> None:
    refused(lmd(*filled(text, place)), *answer)
    assert not (place / "never").exists()


def test_slips_are_answered_without_torch(place: Path, run: Path) -> None:
    calls = [filled(text, place) for text, _ in SLIPS]
    code = (
        "import json, sys\nfrom lmd.cli import main\n"
        "for words in json.loads(sys.argv[1]):\n"
        "    sys.argv = ['lmd', *words]\n"
        "    try:\n        main()\n    except SystemExit as end:\n        assert end.code == 2, words\n"
        "    assert 'torch' not in sys.modules, words\n"
    )
    done = subprocess.run([sys.executable, "-c", code, json.dumps(calls)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-600:]


@pytest.mark.parametrize(
    "text",
    ["trian", "train DATA --out R --set stag1.epochs=3", "train none --out R", "prepare folder --rot x"],
)
def test_a_slip_is_answered_in_about_a_second(place: Path, text: str) -> None:
    """Processor time, not the clock: other processes on the machine do not count.

    pandas alone takes 0.6 seconds, and more beside other work; torch would take two more.
    """

    times = []
    for _ in range(3):
        before = child_seconds()
        done = subprocess.run([sys.executable, "-m", "lmd", *filled(text, place)], capture_output=True)
        assert done.returncode == 2
        times.append(child_seconds() - before)
    assert min(times) < (0.5 if text == "trian" else 1.5)


@pytest.mark.parametrize("verb", ["sources", "inspect DATA --no-page --quick"])
def test_a_reader_that_has_gone_ends_it_quietly(place: Path, verb: str) -> None:
    """Such as `lmd sources | head -1`: 141 is what the shell reports of other tools."""
    code = "from lmd.cli import main; main()"
    command = [sys.executable, "-u", "-c", code, *filled(verb, place)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as started:
        assert started.stdout is not None
        assert started.stderr is not None
        started.stdout.close()
        err = started.stderr.read().decode()
    assert started.returncode == 141
    assert not any(word in err for word in ("lmd:", "Traceback", "Exception", "Broken"))


def test_an_interrupt_says_how_to_go_on(lmd: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    from lmd.experiments.paper import printing

    def interrupted(*_: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(printing, "shown", interrupted)
    assert lmd("paper") == (130, "", "lmd: interrupted; start again with: lmd paper\n")


# The names of settings, read without importing a method.


@pytest.mark.parametrize("name", [*methods.names(), str(EXAMPLE)])
def test_the_names_read_from_the_source_are_those_of_the_settings(name: str) -> None:
    file = Path(name) if name.endswith(".py") else static.ROOT / "methods" / f"{name.replace('-', '_')}.py"
    assert names_in_source(file)[0] == set(setting_names(methods.load(name, allow_code=True).Settings))


def test_a_name_of_an_earlier_version_is_answered_with_todays(lmd: Command, place: Path, run: Path) -> None:
    """It must not be taken for a slip: the nearest name of today may be another one."""
    command = ["train", place / "made" / "data", "--out", place / "never", "--set"]
    refused(lmd(*command, "stage2.m_step_l2=0.1"), "is of an earlier version: it is now 'm_step.l2'")
    refused(lmd(*command, "stage1.ramp=linear"), "is of an earlier version: it is now 'stage1.ramp_epochs'")
    assert not (place / "never").exists()


@pytest.mark.parametrize(
    "source",
    [
        "from somewhere import Settings\n",
        "import somewhere\nclass Settings(somewhere.Base):\n    a: int = 3\n",
        "class Settings(make()):\n    a: int = 3\n",
        "def f(:\n",
        "x = 3\n",
    ],
)
def test_a_source_that_cannot_be_read_so_is_left_to_the_full_check(tmp_path: Path, source: str) -> None:
    (tmp_path / "mine.py").write_text(source)
    with pytest.raises(static.UnsureError):
        names_in_source(tmp_path / "mine.py")


def test_a_method_of_ones_own_takes_its_settings(lmd: Command, place: Path) -> None:
    mine = place / "mine.py"
    shutil.copy(EXAMPLE, mine)
    command = ["train", place / "made" / "data", "--out", place / "never", "--method", mine, "--set"]
    refused(lmd(*command, "stage1.powr=1"), "unknown setting 'stage1.powr'; did you mean 'stage1.power'?")


# The images to predict.


def test_an_image_that_is_named_twice_is_answered_once(lmd: Command, place: Path, run: Path) -> None:
    image = place / "images" / "one.png"
    code, out, err = lmd(
        "predict", run, image, place / "images", place / "empty" / ".." / "images" / "one.png"
    )
    assert code == 0, err
    assert len(out.splitlines()) == 2
    assert f"note: 2 named again, answered once: {image}" in err


def test_files_that_are_named_again_are_told_apart(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    b.symlink_to(a)  # Another name, so another row.
    assert once_each([a, b, tmp_path / "x" / ".." / "a", a]) == ([a, b], [tmp_path / "x" / ".." / "a", a])


def test_a_folder_without_an_image_is_refused_in_python_too(place: Path) -> None:
    with pytest.raises(DataError, match=r"no image in .*empty: it has no file"):
        image_files(place / "empty")
    with pytest.raises(
        DataError, match=r"its files are 2 with \.txt, 1 with no extension; images end in \.jpg"
    ):
        image_files([place / "images", place / "others"])
    assert image_files(str(place / "images")) == [place / "images" / "one.png"]


def test_with_skip_bad_an_image_that_is_missing_is_skipped_as_any_other(
    lmd: Command, place: Path, run: Path
) -> None:
    code, out, err = lmd("predict", run, place / "images", "none.jpg", "--skip-bad")
    assert code == 0
    assert len(out.splitlines()) == 2
    assert "skipped: no image none.jpg" in err
