"""A search: fair, resumable, the same each time, and blind to the test split."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

import lmd
from lmd.data.dataset.folds_folder import Folds
from lmd.data.dataset.manifest import Dataset
from lmd.errors import CheckpointError, DataError, SettingsError
from lmd.evaluation.probability.decisions import margin_score
from lmd.folds.folder import opened
from lmd.planning.choice import Asked, choose
from lmd.run import RunFolder, read_model_card
from lmd.settings import CommonSettings
from lmd.tuning import sampler
from lmd.tuning import search as module
from lmd.tuning.parts import Part
from lmd.tuning.scoring import clusters_of, score_of
from tests import toy
from tests.command import Command, refused
from tests.comparing import made
from tests.folds.conftest import make_folds, write_raw

pytest.importorskip("optuna", reason="the extra 'tune' (optuna) is not installed")

SETTINGS = {name: value for name, value in toy.COMMON.items() if name != "stage1"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return toy.make_dataset(tmp_path_factory.mktemp("toy"))


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Trainings that take no time: a run is the better the nearer its learning rate is to .03."""
    places: list[Path] = []

    def fake(data: Any, part: Part, place: Path, settings: CommonSettings, progress: Any) -> RunFolder:
        places.append(place)
        rate = settings.stage1.optimisation.lr  # type: ignore[attr-defined]
        if rate > 0.008:
            raise SettingsError("training has diverged")
        strength = 4 - abs(math.log10(rate / 0.03))
        if isinstance(data, Folds):
            return opened(made.folds_run(place, strength, settings.seed, part.method))
        made.run(place, part.method, settings.seed, strength)
        (place / "model" / "model.safetensors").write_text("weights")
        return RunFolder(place)

    monkeypatch.setattr(module, "_trained", fake)
    return places


def searched(
    data: Dataset | Folds, out: Path, trials: int, methods: tuple[str, ...] = ("ce",), **options: Any
) -> Any:
    return lmd.tune(data, methods, trials=trials, out=out, budget="smoke", settings=SETTINGS, **options)


def table(out: Path, method: str = "ce") -> pd.DataFrame:
    return pd.read_csv(out / f"trials-{method}.csv").drop(columns="seconds")


def test_a_search_that_was_interrupted_is_that_of_one_call(
    data: Dataset, trained: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampler, "STARTUP", 2)
    whole = searched(data, tmp_path / "whole", 6)
    searched(data, tmp_path / "parts", 1)
    searched(data, tmp_path / "parts", 4)
    number = len(trained)
    parts = searched(data, tmp_path / "parts", 6)
    assert len(trained) == number + 2
    pd.testing.assert_frame_equal(table(tmp_path / "whole"), table(tmp_path / "parts"))
    assert [one.model_dump(exclude={"recipe"}) for one in whole.best] == [
        one.model_dump(exclude={"recipe"}) for one in parts.best
    ]


def test_a_trial_that_was_killed_goes_on(
    data: Dataset, trained: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = searched(data, tmp_path / "whole", 3)
    fake, left = module._trained, [2]

    def killed(*words: Any) -> RunFolder:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return fake(*words)

    monkeypatch.setattr(module, "_trained", killed)
    with pytest.raises(KeyboardInterrupt):
        searched(data, tmp_path / "again", 3)
    monkeypatch.setattr(module, "_trained", fake)
    assert searched(data, tmp_path / "again", 3).best[0].values == whole.best[0].values
    assert [place.name for place in trained if "again" in str(place)] == ["001", "002", "003"]


def test_methods_take_turns_and_have_as_many_trials(
    data: Dataset, trained: list[Path], tmp_path: Path
) -> None:
    found = searched(data, tmp_path / "out", 3, ("ce", "focal"))
    assert [place.parent.name for place in trained] == ["ce", "focal"] * 3
    assert [(one.method, one.trials) for one in found.best] == [("ce", 3), ("focal", 3)]


def test_the_best_is_the_best_and_its_recipe_trains_it(
    data: Dataset, trained: list[Path], tmp_path: Path
) -> None:
    best = searched(data, tmp_path / "out", 6).best[0]
    rows = table(tmp_path / "out")
    assert best.score == rows["score"].max()
    assert rows["score"].idxmax() == best.best - 1
    assert best.failed == rows["score"].isna().sum() > 0
    assert "diverged" in rows["failed"].dropna().iloc[0]
    name, settings = choose(Asked(recipe=Path(best.recipe)), data)
    assert name == "ce"
    assert settings.stage1.optimisation.lr == best.values["stage1.optimisation.lr"]  # type: ignore[attr-defined]
    assert (settings.tau, settings.seed, settings.encoder) == (0.0, 42, "test_resnet")


def test_only_the_best_keeps_its_weights(data: Dataset, trained: list[Path], tmp_path: Path) -> None:
    best = searched(data, tmp_path / "out", 5).best[0]
    kept = sorted(path.parts[-3] for path in (tmp_path / "out").rglob("model.safetensors"))
    assert kept == [f"{best.best:03d}"]


def test_the_score_is_the_smoothed_criterion_of_the_decisions(tmp_path: Path) -> None:
    from lmd.evaluation.probability.decisions import log_prior
    from lmd.model_card import Outputs

    shifted = made.run(tmp_path / "a", outputs=Outputs(tau=0.5, temperature=2.0))
    logits = made.logits(made.IMAGES, 2.0, 1042)
    logits -= logits.mean(1, keepdims=True)
    decided = logits - 0.5 * log_prior(np.array(made.COUNTS))
    wanted = margin_score(decided, made.IMAGES, 0.15 * float(np.std(logits)))
    assert score_of(RunFolder(shifted)).score == pytest.approx(wanted, rel=1e-6)


def test_images_that_folds_share_and_groups_are_clusters() -> None:
    first = pd.DataFrame({"id": ["a", "b", "c"], "group": ["g0", "g0", "g1"], "fold": "1"})
    second = pd.DataFrame({"id": ["b", "d", "e"], "group": ["g0", "g0", "g1"], "fold": "2"})
    found = clusters_of([first, second])
    assert len({found[0], found[1], found[3], found[4]}) == 1
    assert len(set(found.tolist())) == 3


def test_the_test_split_is_not_touched(data: Dataset, tmp_path: Path) -> None:
    """Real trainings: with black test images a search finds the same."""
    blind = toy.make_dataset(tmp_path)
    for name in blind.split("test")["file"]:
        Image.new("RGB", (20, 20)).save(tmp_path / "images" / name)
    found = [searched(one, tmp_path / f"out-{place}", 1).best[0] for place, one in enumerate((data, blind))]
    assert found[0].score == found[1].score
    card = read_model_card(RunFolder(tmp_path / "out-0" / "trials" / "ce" / "001"))
    assert found[0].score == pytest.approx(card.validation_margin, abs=0.01)
    assert not list(tmp_path.rglob("predictions-test.csv"))


def test_on_folds_the_score_is_the_mean_of_theirs(trained: list[Path], tmp_path: Path) -> None:
    folds = make_folds(write_raw(tmp_path / "raw"), tmp_path / "cv", folds=2)
    best = searched(folds, tmp_path / "out", 2).best[0]
    place = tmp_path / "out" / "trials" / "ce" / f"{best.best:03d}"
    each = [score_of(RunFolder(place / name)).score for name in ("fold-1", "fold-2")]
    assert best.score == pytest.approx(np.mean(each))
    assert len(score_of(opened(place)).each) == 2 * len(made.IMAGES)


def test_another_search_in_the_same_folder_is_refused(
    data: Dataset, trained: list[Path], tmp_path: Path
) -> None:
    searched(data, tmp_path / "out", 1)
    with pytest.raises(CheckpointError, match=r"holds another search of ce: seed was 42, now 7"):
        searched(data, tmp_path / "out", 2, seed=7)
    with pytest.raises(CheckpointError, match=r"tau was '0', now 'own'"):
        searched(data, tmp_path / "out", 2, tau="own")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("")
    with pytest.raises(SettingsError, match="not empty and holds no search"):
        searched(data, tmp_path / "other", 1)
    (tmp_path / "other" / "trials.db").write_text("no database")
    with pytest.raises(CheckpointError, match=r"trials.db is damaged"):
        searched(data, tmp_path / "other", 1)


def test_a_folder_may_have_any_name(data: Dataset, trained: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "a b?c#d%41 é"
    searched(data, out, 1)
    assert (out / "trials.db").is_file()
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_where_every_trial_fails_there_is_no_recipe(
    data: Dataset, trained: list[Path], tmp_path: Path
) -> None:
    space = tmp_path / "space.yaml"
    space.write_text("stage1.optimisation.lr: {low: 0.1, high: 0.2}\n")
    with pytest.raises(CheckpointError, match="no trial of ce has a score: training has diverged"):
        searched(data, tmp_path / "out", 2, space=space)


def test_what_cannot_be_searched_is_refused(data: Dataset, tmp_path: Path) -> None:
    place = tmp_path / "space.yaml"
    place.write_text("batch: [1, 8]\n")
    with pytest.raises(SettingsError, match=r"space.yaml: setting batch = 1: must be at least 2"):
        searched(data, tmp_path / "out", 1, space=place)
    with pytest.raises(SettingsError, match="method 'ce' is named twice"):
        searched(data, tmp_path / "out", 1, ("ce", "ce"))
    with pytest.raises(SettingsError, match="must be at least 1"):
        searched(data, tmp_path / "out", 0)
    with pytest.raises(SettingsError, match="two rules"):
        lmd.tune(data, ["ce"], trials=1, out=tmp_path / "out", settings={**SETTINGS, "tau": 0.5})
    bare = toy.make_dataset(tmp_path / "bare", {"train": [9, 5, 4], "test": [2, 2, 2]})
    with pytest.raises(DataError, match="no validation images"):
        searched(bare, tmp_path / "out", 1)
    assert not (tmp_path / "out").exists()


def test_the_command_searches_and_refuses(
    lmd: Command, data: Dataset, trained: list[Path], tmp_path: Path
) -> None:
    words = [
        "tune",
        data.folder,
        "--method",
        "ce",
        "--budget",
        "smoke",
        "--set",
        "encoder=test_resnet",
        "--set",
        "pretrained=false",
    ]
    code, out, err = lmd(*words, "--trials", 2, "--out", tmp_path / "out")
    assert (code, err) == (0, "")
    assert "ce 2/2: " in out
    assert "the best of 2 trials flatters itself" in out
    assert yaml.safe_load((tmp_path / "out" / "best-ce.yaml").read_text())["method"] == "ce"
    refused(lmd(*words, "--out", tmp_path / "x"), "tune needs --trials")
    refused(lmd(*words, "--trials", 0, "--out", tmp_path / "x"), "--trials 0: must be at least 1")
    refused(lmd(*words[:2], "--method", "ec", "--trials", 1, "--out", tmp_path / "x"), "unknown method 'ec'")
    refused(
        lmd(*words, "--trials", 1, "--out", tmp_path / "x", "--space", tmp_path / "none"),
        "cannot read recipe",
    )
    assert not (tmp_path / "x").exists()
