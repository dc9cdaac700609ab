"""What the HTTP interface answers: the same as the command, and warnings in words."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import lmd
from lmd.data.dataset.manifest import Dataset
from lmd.deployment.serving.answers import Table, rare_warnings
from lmd.deployment.serving.engine import Answered
from lmd.deployment.serving.schema import Ask
from lmd.evaluation.predict import Model
from lmd.folds.average import AverageNetwork
from lmd.folds.folder import opened
from lmd.run import RunFolder
from tests.data.decode.test_dicom import header, written
from tests.deployment.serving.asking import line_of, png, predict
from tests.deployment.serving.conftest import Served, running

CLASSES = ["common", "less", "rare"]


def files_of(folder: Path) -> list[Path]:
    """A PNG, a JPEG and a DICOM file."""
    Image.open(io.BytesIO(png(1, 3, 90))).save(folder / "b.jpg")
    (folder / "a.png").write_bytes(png(0, 5))
    pixels = np.random.default_rng(0).integers(0, 256, (50, 40, 3), dtype=np.uint8)
    written(folder / "c.dcm", header(pixels, "RGB"))
    return [folder / "a.png", folder / "b.jpg", folder / "c.dcm"]


def test_the_answers_are_those_of_the_command(served: Served, model: Model, tmp_path: Path) -> None:
    files = files_of(tmp_path)
    expected = model.predict(files, sets=0.8)
    found = predict(served.client, *files, sets=0.8, format="csv")
    assert found.headers["content-type"].startswith("text/csv")
    table = pd.read_csv(io.StringIO(found.text))
    assert table.columns.tolist() == expected.columns.tolist()
    assert table["id"].tolist() == [1, 2, 3]
    numbers = expected.columns.difference(["id", "predicted", "set"])
    np.testing.assert_allclose(table[numbers], expected[numbers], atol=1e-5)
    assert table[["predicted", "set"]].equals(expected[["predicted", "set"]])


def test_an_answer_says_all_that_is_known(served: Served, model: Model, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(0, 5))
    row = model.predict(tmp_path / "a.png", sets=0.9).iloc[0]
    tree = predict(served.client, tmp_path / "a.png", sets=0.9).json()
    (answer,) = tree["answers"]
    assert answer["predicted"] == row["predicted"]
    assert answer["probabilities"] == pytest.approx({name: row[f"p_{name}"] for name in CLASSES}, abs=1e-5)
    assert answer["decisions"] == pytest.approx({name: row[f"d_{name}"] for name in CLASSES}, abs=1e-5)
    assert answer["set"] == row["set"].split("; ")
    assert answer["unlike"] == pytest.approx(row["unlike"], abs=0.03)
    assert answer["ranges"] is None
    assert answer["explanation"] is None
    assert tree["research_use"].startswith("For research use only. Not a medical device.")
    assert tree["notes"][0].startswith("p_<class> are for ranking")
    assert tree["notes"][1].startswith("sets: 90% of the images of each of common, less, rare")


def test_images_are_numbered_and_bad_ones_left_out_where_that_is_asked(served: Served) -> None:
    bad = b"%PDF-1.4 of Mrs Miller"
    assert line_of(predict(served.client, png(), bad, png()), 422) == (
        "image 2 is not an image in a known format: it is a PDF; save its pages as PNG"
    )
    answers = predict(served.client, png(1), bad, png(2), skip_bad=True).json()["answers"]
    assert [one["image"] for one in answers] == [1, 2, 3]
    assert answers[1]["error"].startswith("image 2 is not an image")
    assert answers[1]["predicted"] is None
    alone = predict(served.client, png(2)).json()["answers"][0]
    assert answers[2]["probabilities"] == pytest.approx(alone["probabilities"], abs=1e-5)
    assert line_of(predict(served.client, bad, bad, skip_bad=True), 422).startswith("image 1 is not an image")
    table = pd.read_csv(
        io.StringIO(predict(served.client, png(1), bad, png(2), skip_bad=True, format="csv").text)
    )
    assert table["id"].tolist() == [1, 3]


def test_a_strange_image_and_a_rare_class_are_warned_of(served: Served) -> None:
    known = served.service.known
    seen = served.service.engine.model.unlikeness
    assert seen is not None
    elsewhere = Answered(np.zeros(3), -seen.mean[0] * 1e-3, None)
    (strange,) = Table(known, [elsewhere], [1], Ask()).answers()
    assert strange.unlike == 1.0
    assert strange.warnings[0] == (
        "This image is more unlike what the model has seen than 99% of the validation images: do not trust the answer."
    )
    assert strange.probabilities == pytest.approx(dict.fromkeys(CLASSES, 1 / 3))
    assert known.rare == ["rare"]
    assert rare_warnings(known, "common", ["common", "less"]) == []
    assert rare_warnings(known, "common", ["common", "rare"]) == [
        "rare is a rare class, and not ruled out: the prediction set holds it."
    ]
    (line,) = rare_warnings(known, "rare", ["rare"])
    assert line.startswith(
        "rare is a rare class: the model has learnt it from 5 images. How well it is found: "
    )
    assert line.endswith(f"{known.words['rare'].level}.")


def test_a_prior_gives_what_the_command_gives(served: Served, model: Model, tmp_path: Path) -> None:
    files = files_of(tmp_path)
    shares = {"common": 0.5, "less": 0.3, "rare": 0.2}
    for prior in ("train", "uniform", shares):
        expected = model.predict(files, prior=prior)
        columns = [f"p_{name}" for name in CLASSES]
        sent = json.dumps(prior) if isinstance(prior, dict) else prior
        own = predict(served.client, *files).json()["answers"]
        at_once = predict(served.client, *files, prior=sent).json()
        found = np.array([list(one["probabilities"].values()) for one in at_once["answers"]])
        np.testing.assert_allclose(found, expected[columns], atol=1e-5)
        assert [one["predicted"] for one in at_once["answers"]] == expected["predicted"].tolist()
        assert [one["decisions"] for one in at_once["answers"]] == [None] * 3
        rows = [list(one["probabilities"].values()) for one in own]
        later = served.client.post("/api/prior", json={"probabilities": rows, "prior": prior}).json()
        np.testing.assert_allclose(later["probabilities"], expected[columns], atol=1e-5)
        assert later["predicted"] == expected["predicted"].tolist()
        assert later["notes"] == at_once["notes"]
        assert [bool(lines) for lines in later["warnings"]] == [name == "rare" for name in later["predicted"]]
        assert later["warnings"] == [one["warnings"] for one in at_once["answers"]]
    assert later["shares"]["less"] == {"value": 0.3, "low": None, "high": None}


def test_shares_are_estimated_with_intervals_where_validation_allows_it(served: Served) -> None:
    rows = np.random.default_rng(0).dirichlet((2, 1, 1), 60).tolist()
    answer = served.client.post("/api/prior", json={"probabilities": rows, "prior": "estimate"})
    if served.service.about().no_estimate is not None:
        assert line_of(answer, 422)
        return
    shares = answer.json()["shares"]
    assert sum(one["value"] for one in shares.values()) == pytest.approx(1)
    assert all(one["low"] <= one["value"] <= one["high"] for one in shares.values())


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ({"probabilities": [[0.5, 0.5]], "prior": "train"}, "row 1 must have 3 numbers"),
        (
            {"probabilities": [[1, 0, 0], [0.5, 0.1, 0.1]], "prior": "train"},
            "row 2 must sum to 1, and sums to 0.7",
        ),
        ({"probabilities": [[2, -1, 0]], "prior": "train"}, "probabilities: must be at most 1"),
        ({"probabilities": [], "prior": "train"}, "probabilities: "),
        ({"probabilities": [[1, 0, 0]], "prior": "/etc/passwd"}, "prior: must be train, uniform or estimate"),
        ({"probabilities": [[1, 0, 0]], "prior": {"common": 1.0}}, "prior has no share of less, rare"),
        ({"probabilities": [[1, 0, 0]], "prior": {"a": 1.0}}, "prior has the class 'a'"),
        ({"probabilities": [[1, 0, 0]]}, "the field 'prior' is missing"),
        (
            {"probabilities": [[1, 0, 0]], "prior": "train", "name": "Miller"},
            "a field is not known; known are",
        ),
    ],
)
def test_probabilities_and_priors_that_cannot_be(served: Served, body: dict, line: str) -> None:
    assert line in line_of(served.client.post("/api/prior", json=body), 422)


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"sets": "2"}, "sets: must be less than 1"),
        ({"sets": "much"}, "sets: must be a number"),
        ({"frame": "0"}, "frame: must be at least 1"),
        ({"prior": "/etc/passwd"}, "prior: must be train, uniform or estimate"),
        ({"prior": '{"common": 0.5'}, "prior: must be train, uniform or estimate"),
        ({"prior": "train", "sets": "0.9"}, "'sets' and 'prior' cannot go together"),
        ({"format": "xml"}, "format: "),
        ({"patient": "Miller"}, "a field is not known; known are frame, sets"),
    ],
)
def test_fields_that_do_not_fit(served: Served, fields: dict[str, str], line: str) -> None:
    assert line in line_of(predict(served.client, png(), **fields), 422)


def test_frames_are_chosen_in_words_of_the_interface(served: Served, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 50, 40), dtype=np.uint8)
    file = written(tmp_path / "a.dcm", header(pixels))
    assert line_of(predict(served.client, file), 422) == (
        "image 1 has 3 frames, and one is needed: choose it with 'frame'"
    )
    one, two = (predict(served.client, file, frame=n).json()["answers"][0]["probabilities"] for n in (1, 2))
    assert one != two
    assert line_of(predict(served.client, file, frame=4), 422) == "image 1 has 3 frames; there is no frame 4"


def test_the_model_is_described_without_paths(served: Served, trained: tuple[Path, Dataset]) -> None:
    text = served.client.get("/api/model").text
    tree = json.loads(text)
    assert tree["title"] == "ce on toy"
    assert [one["name"] for one in tree["classes"]] == CLASSES
    assert [one["training_images"] for one in tree["classes"]] == [40, 12, 5]
    assert [one["rare"] for one in tree["classes"]] == [False, False, True]
    assert tree["classes"][0]["lines"][0].startswith("Sensitivity: of 100 such images it finds")
    assert tree["verdict"]
    assert (tree["no_sets"], tree["no_unlikeness"], tree["no_prior"]) == (None, None, None)
    assert tree["nearest"].startswith("the nearest of 57 training images")
    assert tree["limits"] == {"bytes": 64_000_000, "pixels": 50_000_000, "files": 16, "seconds": 60.0}
    assert str(trained[0].parent) not in text
    assert "/tmp" not in text


def test_an_explanation_has_a_map_and_nearest_training_images(
    served: Served, model: Model, trained: tuple[Path, Dataset]
) -> None:
    dataset = trained[1]
    train = dataset.split("train")
    file = dataset.path(train["file"].iloc[45])
    text = predict(served.client, file, explain=True).text
    look = json.loads(text)["answers"][0]["explanation"]
    assert look["picture"].startswith("data:image/jpeg;base64,")
    assert look["map"].startswith("data:image/jpeg;base64,")
    assert len(look["nearest"]) == 3
    assert look["nearest"][0]["label"] == train["label"].iloc[45]  # It is a training image itself.
    assert look["nearest"][0]["cosine"] == pytest.approx(1, abs=1e-4)
    assert look["notes"][0].startswith("The maps show where the score of a class comes from (Grad-CAM")
    for secret in (*dataset.table["file"], *dataset.table["group"], str(trained[0].parent)):
        assert secret not in text


def test_the_map_is_that_of_the_answer(served: Served, model: Model) -> None:
    """The network's own thread computes it; here the same is computed by hand."""
    import torch

    from lmd.data.feed.scale import clean
    from lmd.evaluation.explain import find_maps, grad_cam

    pixels = torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8)
    scale = model.card.preprocessing
    maps = find_maps(model.network, 32)
    assert not isinstance(maps, str)
    expected = grad_cam(model.network, clean(pixels[None], scale.mean, scale.std), torch.tensor([2]), maps)
    found = served.service.engine.call(lambda: served.service.looks.heat(pixels, 2)).result(10)
    assert found is not None
    np.testing.assert_allclose(found, expected[0], atol=1e-6)


def test_without_training_images_there_are_none_beside_an_answer(
    model: Model, trained: tuple[Path, Dataset], tmp_path: Path
) -> None:
    run = Path(shutil.copytree(trained[0], tmp_path / "run"))
    text = (run / "settings.yaml").read_text()
    assert str(trained[1].folder) in text
    (run / "settings.yaml").write_text(text.replace(str(trained[1].folder), str(tmp_path / "gone")))
    with running(model, RunFolder(run)) as served:
        why = served.service.looks.known.result(20)
        assert why == "the training images do not lie where they lay when the model was trained"
        look = predict(served.client, png(), explain=True).json()["answers"][0]["explanation"]
        assert look["nearest"] == []
        assert look["notes"][1] == why


def test_a_run_without_validation_answers_says_what_it_lacks(
    trained: tuple[Path, Dataset], tmp_path: Path
) -> None:
    run = Path(shutil.copytree(trained[0], tmp_path / "run"))
    for file in run.glob("*-val*"):
        file.unlink()
    for file in run.glob("evaluation-*"):
        file.unlink()
    with running(lmd.load(run), RunFolder(run), nearest="off") as served:
        tree = served.client.get("/api/model").json()
        assert tree["no_sets"].startswith("'sets' has nothing to calibrate with: the run has no predictions")
        assert tree["verdict"] == []
        assert tree["nearest"] == "nearest training images are not shown by this server"
        assert line_of(predict(served.client, png(), sets=0.9), 422) == tree["no_sets"]
        answer = predict(served.client, png()).json()["answers"][0]
        assert answer["predicted"] in CLASSES


# A folds run is its ensemble.


def test_a_folds_run_is_served_as_the_mean_of_its_models(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(1, 7))
    model = lmd.load(finished, average=True)
    row = model.predict(tmp_path / "a.png").iloc[0]
    singles = [
        lmd.load(finished / name).predict(tmp_path / "a.png").iloc[0] for name in opened(finished).names
    ]
    with running(model, opened(finished)) as served:
        served.service.looks.known.result(30)
        answer = predict(served.client, tmp_path / "a.png", explain=True).json()["answers"][0]
        about = served.client.get("/api/model").json()
    for name in row.index[row.index.str.startswith("p_")]:
        own = [single[name] for single in singles]
        assert answer["probabilities"][name[2:]] == pytest.approx(row[name], abs=1e-5)
        assert answer["ranges"][name[2:]] == pytest.approx([min(own), max(own)], abs=1e-5)
    assert about["models"] == len(singles) == 2
    assert "none is new to it" in about["no_sets"]
    assert about["no_unlikeness"].startswith("the mean of several models")
    assert len(answer["explanation"]["nearest"]) == 3


def test_the_probabilities_of_each_network_and_their_mean(finished: Path) -> None:
    import torch

    network = lmd.load(finished, average=True).network
    assert isinstance(network, AverageNetwork)
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        network.eval()
        each = [one(images) for one in network.networks]
        mean = network(images)
    p = network.probabilities(each)
    torch.testing.assert_close(p.mean(0), (mean.logits / network.temperature).softmax(1))
    torch.testing.assert_close(network.together(each).features, mean.features)
