"""Predictions of files: decoded meanwhile, batch by batch, and the same as one image after the other."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from lmd import parallel
from lmd.data.decode.cache import open_cache
from lmd.data.decode.images import decode, resize
from lmd.data.feed.loader import image_set
from lmd.data.feed.scale import MEAN, STD, clean
from lmd.errors import DataError
from lmd.evaluation import outputs
from lmd.evaluation.predict import Model, predict_files, predict_split
from lmd.model_card import ModelCard, Preprocessing
from lmd.models.classifier import build_classifier
from lmd.models.encoder import build_encoder, num_features
from lmd.models.inference import BATCH as BATCH_TRAINED
from lmd.models.inference import batch_for, encode
from lmd.models.network import Network, batch_norms
from lmd.runtime import Runtime
from tests import toy

BATCH = 4


def card_of(crop: str) -> ModelCard:
    preprocessing = Preprocessing(size=16, crop=crop, mean=MEAN, std=STD)
    return ModelCard.model_construct(classes=toy.CLASSES, preprocessing=preprocessing)


def model_of(precision: str = "fp32", crop: str = "none") -> Model:
    torch.manual_seed(0)
    encoder = build_encoder("test_resnet")
    for layer in batch_norms(encoder):
        torch.nn.init.uniform_(layer.running_var, 0.5, 2)  # type: ignore[arg-type]
    network = Network(encoder, build_classifier("linear", num_features(encoder), 3, seed=0))
    with torch.no_grad():
        network.classifier.weight.mul_(50)  # type: ignore[union-attr, operator]
    return Model(network.eval(), card_of(crop), Runtime(precision, "cpu"))


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Eleven pictures, two batches and a rest, for two cores."""
    monkeypatch.setattr(outputs, "batch_for", lambda device, size: BATCH)
    for module in (parallel, outputs):
        monkeypatch.setattr(module, "num_cores", lambda: 2)
    paths = [tmp_path / f"{number:02d}.jpg" for number in range(11)]
    for number, path in enumerate(paths):
        Image.fromarray(toy.draw(number % 3, number, 90)[:60]).save(path)
    return paths


def one_by_one(model: Model, paths: list[Path]) -> np.ndarray:
    """The probabilities as the trained network gives them for each file by itself."""
    size, crop = model.card.preprocessing.size, model.card.preprocessing.crop
    rows: list[torch.Tensor] = []
    for path in paths:
        pixels = resize(decode(path, least=2 * size), size, crop).transpose(2, 0, 1)
        with torch.inference_mode(), model.runtime.autocast():
            rows.append(model.network(clean(torch.from_numpy(pixels.copy())[None])).logits.float())
    return torch.cat(rows).double().softmax(1).numpy()


def test_larger_images_are_answered_in_smaller_batches_on_a_cpu() -> None:
    """Every core has a batch: its memory must not grow with the square of the image size."""
    batches = {size: batch_for(torch.device("cpu"), size) for size in (32, 64, 224, 1024)}
    assert batches == {32: 512, 64: 128, 224: 10, 1024: 8}
    assert batch_for(torch.device("cuda"), 224) == BATCH_TRAINED


def probabilities(answers: pd.DataFrame) -> np.ndarray:
    return answers.filter(like="p_").to_numpy()


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("bf16", 2e-3)])
@pytest.mark.parametrize("crop", ["none", "center"])
def test_files_are_answered_as_one_by_one(
    files: list[Path], precision: str, tolerance: float, crop: str
) -> None:
    model = model_of(precision, crop)
    answers, skipped = predict_files(model, files)
    assert answers["id"].tolist() == [str(path) for path in files]
    assert skipped == {}
    expected = one_by_one(model, files)
    assert np.ptp(expected, axis=0).min() > 20 * tolerance  # The images differ by more than is allowed.
    np.testing.assert_allclose(probabilities(answers), expected, atol=tolerance)


def test_files_that_are_left_out_change_nothing_for_the_rest(files: list[Path]) -> None:
    model = model_of()
    expected, _ = predict_files(model, files)
    bad = [files[0].with_name(f"bad{number}.jpg") for number in range(3)]
    bad[0].write_bytes(b"no image")
    bad[1].write_bytes(files[0].read_bytes()[:200])
    mixed = [bad[0], *files[:4], bad[1], *files[4:], bad[2]]
    told: list[tuple[int, int]] = []
    answers, skipped = predict_files(
        model, mixed, skip_bad=True, progress=lambda *so_far: told.append(so_far)
    )
    pd.testing.assert_frame_equal(answers, expected)
    assert list(skipped) == [str(path) for path in bad]
    assert "bad0.jpg is not an image" in skipped[str(bad[0])]
    assert "no image" in skipped[str(bad[2])]
    assert told == [(4, 14), (8, 14), (12, 14), (14, 14)]


def test_the_first_bad_file_is_named_though_a_later_one_fails_sooner(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(path: Path, *arguments: object) -> np.ndarray:
        time.sleep(0.05 if path == files[1] else 0)
        if path in files[1:]:
            raise DataError(f"cannot read {path.name}")
        return np.zeros((3, 16, 16), np.uint8)

    monkeypatch.setattr(outputs, "decode_small", fails)
    before = threading.active_count()
    with pytest.raises(DataError, match=r"cannot read 01\.jpg"):
        predict_files(model_of(), files)
    assert threading.active_count() == before


def test_no_readable_file_is_said(files: list[Path], tmp_path: Path) -> None:
    model = model_of()
    with pytest.raises(DataError, match="none of the 2 images can be read"):
        predict_files(model, [tmp_path / "a.jpg", tmp_path / "b.jpg"], skip_bad=True)
    with pytest.raises(DataError, match="none of the 0 images can be read"):
        predict_files(model, [])


def test_the_next_files_are_decoded_while_the_network_works_and_not_all_of_them(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first batch is not answered before a file of the next one is decoded."""
    decoded: list[Path] = []
    fifth = threading.Event()
    at_first_batch: list[int] = []

    def noted(path: Path, *arguments: object) -> np.ndarray:
        decoded.append(path)
        if path == many[BATCH]:
            fifth.set()
        return np.zeros((3, 16, 16), np.uint8)

    def waits(*arguments: object) -> None:
        assert fifth.wait(timeout=10)
        at_first_batch.append(len(decoded))

    many, model = files * 10, model_of()
    monkeypatch.setattr(outputs, "decode_small", noted)
    model.at_rest.register_forward_pre_hook(waits)
    predict_files(model, many)
    assert len(decoded) == len(many)
    assert at_first_batch[0] <= 5 * BATCH  # Four batches wait beside the one that is worked on.


def test_what_is_kept_was_made_by_the_thread_that_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small tensors of working threads, kept among large ones, took 10 GB of a million predictions."""
    made: list[int] = []
    answer = outputs.output_of

    def recorded(*words: object) -> outputs.Output:
        output = answer(*words)  # type: ignore[arg-type]
        made.extend(part.untyped_storage().data_ptr() for part in output)
        alive.append(output)  # So that no address is used twice.
        return output

    alive: list[outputs.Output] = []
    monkeypatch.setattr(outputs, "output_of", recorded)
    model, pixels = model_of(), torch.zeros(9, 3, 16, 16, dtype=torch.uint8)
    found = list(outputs.outputs_of(model, pixels))
    assert made
    assert not {part.untyped_storage().data_ptr() for output in found for part in output} & set(made)


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-6), ("bf16", 0.0)])
def test_a_split_is_answered_as_the_trained_network_does(
    precision: str, tolerance: float, tmp_path: Path
) -> None:
    """To rounding where BatchNorm is folded; bit for bit in bf16."""
    dataset, model = toy.make_dataset(tmp_path), model_of(precision)
    told: list[tuple[int, int]] = []
    answers = predict_split(model, dataset, "train", lambda *so_far: told.append(so_far))
    images = image_set(dataset, "train", open_cache(dataset, 16))
    expected = encode(model.network, images, model.runtime).logits.double().softmax(1).numpy()
    np.testing.assert_allclose(probabilities(answers), expected, rtol=0, atol=tolerance)
    assert told[-1] == (57, 57)


def test_images_are_normalised_with_the_mean_and_standard_deviation_of_the_model(files: list[Path]) -> None:
    """A network that is asked for (x - m) / s answers for s x + m: the values of model.json are used."""
    model = model_of()
    plain, _ = predict_files(model, files)
    other = Preprocessing(size=16, crop="none", mean=(0.1, 0.2, 0.3), std=(0.5, 0.4, 0.3))
    card = model.card.model_copy(update={"preprocessing": other})
    changed, _ = predict_files(Model(model.network, card, model.runtime), files)
    pixels = [resize(decode(path, least=32), 16, "none").transpose(2, 0, 1) for path in files]
    batch = torch.from_numpy(np.stack(pixels)).float() / 255
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (other.mean, other.std))
    expected = model.network((batch - mean) / std).logits.softmax(1).detach().numpy()
    columns = [f"p_{name}" for name in toy.CLASSES]
    assert not np.allclose(plain[columns], expected, atol=1e-3)
    assert np.allclose(changed[columns], expected, atol=1e-5)
