"""Files of weights: what fits, what is of another architecture, and what is no such file at all."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from lmd.errors import CheckpointError, SettingsError
from lmd.models.encoder import build_encoder, check_encoder


def tensors(name: str, num_classes: int = 0, **options: int) -> dict[str, Tensor]:
    torch.manual_seed(3)
    model = timm.create_model(name, num_classes=num_classes, **options)
    return {key: value.clone() for key, value in model.state_dict().items()}


def equal(encoder: torch.nn.Module, weights: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, weights[key]) for key, value in encoder.state_dict().items())


def refusal(path: Path, name: str = "test_resnet", *, partial: bool = False, size: int = 64) -> str:
    """What building and checking both say; one line."""
    with pytest.raises(CheckpointError) as built:
        build_encoder(name, size=size, weights=str(path), partial_weights=partial)
    with pytest.raises(CheckpointError) as checked:
        check_encoder(name, size=size, weights=str(path), partial_weights=partial)
    assert str(built.value) == str(checked.value)
    assert "\n" not in str(built.value)
    return str(built.value)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "w.safetensors"


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "levit_128s", "deit_tiny_distilled_patch16_224"])
def test_the_classifier_of_the_same_network_is_left_out(path: Path, name: str) -> None:
    whole = tensors(name, num_classes=7)
    save_file(whole, path)
    check_encoder(name, size=timm.models.get_pretrained_cfg(name).input_size[1], weights=str(path))
    assert equal(build_encoder(name, weights=str(path)), whole)


def test_weights_of_a_deeper_network_are_of_another_architecture(path: Path) -> None:
    """All of resnet18's names and shapes are among resnet34's."""
    save_file(tensors("resnet34", num_classes=5), path)
    told = refusal(path, "resnet18", partial=True)
    # 36 convolutions and as many BatchNorms of four tensors, the classifier; resnet18 has 20 of each.
    assert "80 of their 182 tensors are not among its 100, the first is layer1.2.bn1.bias" in told
    assert "another architecture than 'resnet18'" in told


def test_another_classifier_than_the_networks_own_is_another_architecture(path: Path) -> None:
    save_file({**tensors("test_resnet"), "projector.weight": torch.zeros(2, 2)}, path)
    assert "the first is projector.weight" in refusal(path)


@pytest.mark.parametrize(
    "prefix",
    [
        "module.", "model.", "encoder.", "backbone.", "state_dict.", "module.model.", "net.", "0.", "visual.",
        "trunk.", "base_model.", "student.backbone.", "module.encoder_q.", "feature_extractor.",
    ],
)  # fmt: skip
def test_what_a_trainer_puts_before_every_name_is_left_out(
    path: Path, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    whole = tensors("test_resnet", num_classes=4)
    save_file({prefix + key: value for key, value in whole.items()}, path)
    with caplog.at_level(logging.WARNING):
        assert equal(build_encoder("test_resnet", weights=str(path)), whole)
    assert f"'{prefix}' at the beginning of all names is left out" in caplog.text


@pytest.mark.parametrize("head", ["head", "fc", "classifier", "last_linear"])
def test_a_classifier_beside_a_prefix_is_left_out_with_it(
    path: Path, head: str, caplog: pytest.LogCaptureFixture
) -> None:
    whole = tensors("test_resnet")
    beside = {f"{head}.weight": torch.zeros(3, 96), f"{head}.bias": torch.zeros(3)}
    save_file({**{f"backbone.{key}": value for key, value in whole.items()}, **beside}, path)
    with caplog.at_level(logging.WARNING):
        assert equal(build_encoder("test_resnet", weights=str(path)), whole)
    assert "'backbone.' at the beginning of the encoder's names is left out" in caplog.text
    assert f"the classifier in {head} with it" in caplog.text


def test_the_old_name_of_a_classifier_is_left_out(path: Path) -> None:
    whole = tensors("test_resnet")
    save_file({**whole, "last_linear.weight": torch.zeros(3, 96), "last_linear.bias": torch.zeros(3)}, path)
    assert equal(build_encoder("test_resnet", weights=str(path)), whole)


def test_two_encoders_in_a_file_are_told_apart(path: Path) -> None:
    whole = tensors("test_resnet")
    both = {f"{one}.{key}": value.clone() for one in ("encoder_q", "other") for key, value in whole.items()}
    both["encoder_q.layer1.0.bn9.bias"] = torch.zeros(2)
    del both["other.conv1.weight" if "other.conv1.weight" in both else "other.conv1.0.weight"]
    save_file(both, path)
    told = refusal(path)
    assert "all of the encoder's are there under 'encoder_q.'" in told
    assert "others are too, such as other." in told


def test_the_model_of_a_run_is_named_by_its_folder(path: Path) -> None:
    whole = {f"encoder.{key}": value for key, value in tensors("test_resnet").items()}
    save_file({**whole, "classifier.weight": torch.zeros(3, 96)}, path)
    assert refusal(path).endswith("a run of lmd is named by its folder: --weights RUN")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_converted(path: Path, dtype: torch.dtype) -> None:
    whole = tensors("test_resnet")
    save_file(
        {key: value.to(dtype) if value.is_floating_point() else value for key, value in whole.items()}, path
    )
    encoder = build_encoder("test_resnet", weights=str(path))
    weight = encoder.state_dict()["layer1.0.conv1.weight"]
    assert weight.dtype == torch.float32
    assert torch.equal(weight, whole["layer1.0.conv1.weight"].to(dtype).float())


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int64, torch.bool, torch.complex64])
def test_quantised_and_complex_numbers_are_refused(path: Path, dtype: torch.dtype) -> None:
    whole = tensors("test_resnet")
    save_file(
        {key: value.to(dtype) if value.is_floating_point() else value for key, value in whole.items()}, path
    )
    assert f"holds {str(dtype).removeprefix('torch.')} numbers" in refusal(path)


def test_one_complex_counter_is_refused_too(path: Path) -> None:
    whole = tensors("test_resnet")
    whole["bn1.num_batches_tracked"] = whole["bn1.num_batches_tracked"].to(torch.complex64)
    save_file(whole, path)
    assert "bn1.num_batches_tracked holds complex64 numbers" in refusal(path)


def test_a_negative_variance_is_refused(path: Path) -> None:
    whole = tensors("test_resnet")
    whole["bn1.running_var"][2] = -0.5
    save_file(whole, path)
    assert "bn1.running_var holds negative numbers, but it is a variance" in refusal(path)


def test_stretching_tables_of_positions_is_no_affair_of_the_terminal(
    path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    save_file(tensors("swin_tiny_patch4_window7_224"), path)
    recwarn.clear()
    check_encoder("swin_tiny_patch4_window7_224", size=64, weights=str(path))
    assert [str(one.message) for one in recwarn if one.category is UserWarning] == []


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ("https://hub.example/model.safetensors", "lmd downloads no address"),
        ("hf-hub:timm/resnet18.a1_in1k", "--set encoder=NAME"),
        ("PACKAGE:efficientnet-lite0", "write package:efficientnet-lite0, in small letters"),
        ("", "--weights is empty"),
    ],
)
def test_what_is_no_file_is_told_what_is_possible(weights: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        check_encoder("test_resnet", size=64, weights=weights)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(path: Path, value: float) -> None:
    whole = tensors("test_resnet")
    whole["bn1.bias"][3] = value
    save_file(whole, path)
    assert "bn1.bias holds numbers that are not finite" in refusal(path)


def test_step_counters_may_be_missing(path: Path) -> None:
    whole = tensors("test_resnet")
    save_file({key: value for key, value in whole.items() if not key.endswith("num_batches_tracked")}, path)
    assert equal(build_encoder("test_resnet", weights=str(path)), whole)


@pytest.mark.parametrize("name", ["test_vit", "deit_tiny_patch16_224"])
def test_tables_of_positions_are_stretched_to_another_image_size(path: Path, name: str) -> None:
    whole = tensors(name, num_classes=4)
    whole["pos_embed"] = torch.full_like(whole["pos_embed"], 0.25)
    save_file(whole, path)
    check_encoder(name, size=64, weights=str(path))
    found = build_encoder(name, size=64, weights=str(path)).state_dict()
    assert found["pos_embed"].shape[1] < whole["pos_embed"].shape[1]
    torch.testing.assert_close(found["pos_embed"], torch.full_like(found["pos_embed"], 0.25))
    assert torch.equal(found["blocks.0.attn.qkv.weight"], whole["blocks.0.attn.qkv.weight"])


def test_weights_that_cannot_be_stretched_name_their_size(path: Path) -> None:
    save_file(tensors("mixer_s32_224"), path)
    assert "they are for images of 224 pixels: --set size=224" in refusal(path, "mixer_s32_224", size=64)


def test_patches_of_another_size_are_another_architecture(path: Path) -> None:
    """All else has the same shape, and timm would stretch the filters, too."""
    whole = tensors("vit_small_patch16_224")
    save_file({name: value.half() for name, value in whole.items()}, path)
    assert "patch_embed.proj.weight has shape" in refusal(path, "vit_small_patch32_224", size=224)


KINDS = {
    "w.pth": (b"PK\x03\x04", "a .pth file may run code when it is opened"),
    "w.pt": (b"\x80\x02}q", "may run code"),
    "w.bin": (b"\x80\x02}q", "may run code"),
    "w.ckpt": (b"PK\x03\x04", "may run code"),
    "w.npz": (b"PK\x03\x04", "reads .safetensors, not .npz"),
    "w.h5": (b"\x89HDF\r\n", "reads .safetensors, not .h5"),
    "w.onnx": (b"\x08\x07", "reads .safetensors, not .onnx"),
    "zip.safetensors": (b"PK\x03\x04" + bytes(60), "a zip archive, as torch.save"),
    "pickle.safetensors": (b"\x80\x02}q\x00." + bytes(60), "a pickle"),
    "lfs.safetensors": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 4\n",
        "git lfs pull",
    ),
    "page.safetensors": (b"<!DOCTYPE html><html>" + bytes(60), "a page of the web"),
    "text.safetensors": (b"Entry not found", "it is text ('Entry not found'), not a file of weights"),
    "error.safetensors": (b'{"error": "Invalid credentials"}', "it is JSON, not a file of weights"),
    "index.json": (b'{"metadata": {}, "weight_map": {}}', "the files of weights that are in several parts"),
    "tar.safetensors": (b"x" * 257 + b"ustar" + bytes(300), "it is a tar archive"),
    "empty.safetensors": (b"", "the file is empty"),
    "noise.safetensors": (bytes(range(7, 77)), "not a safetensors file"),
}


@pytest.mark.parametrize("name", KINDS)
def test_any_other_file_is_told_what_it_is(tmp_path: Path, name: str) -> None:
    content, words = KINDS[name]
    (tmp_path / name).write_bytes(content)
    told = refusal(tmp_path / name)
    assert words in told
    assert str(tmp_path / name) in told
    if name.endswith((".pth", ".npz", "zip.safetensors", "pickle.safetensors")):
        assert "docs/weights.md" in told


def test_a_cut_file_a_folder_and_no_file_are_told_apart(path: Path) -> None:
    save_file(tensors("test_resnet"), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "it is cut off or damaged" in refusal(path)
    path.write_bytes(whole[:100])
    assert "it is cut off or damaged" in refusal(path)
    assert "are a folder and no run: name the .safetensors file in it" in refusal(path.parent)
    path.unlink()
    assert f"no weights file {path}" in refusal(path)


def recipe() -> str:
    """The program of docs/weights.md that converts a file."""
    page = (Path(__file__).parents[2] / "docs" / "weights.md").read_text()
    return page.partition("```python\n")[2].partition("```")[0]


@pytest.mark.parametrize("nested", ["", "state_dict", "model"])
def test_the_recipe_of_the_docs_converts_a_file(tmp_path: Path, nested: str) -> None:
    """Also where a trainer has put more into it, and where two names share one tensor."""
    whole = tensors("test_resnet", num_classes=4)
    whole["bn1.bias"] = whole["bn1.weight"]
    torch.save({nested: whole, "epoch": 3} if nested else whole, tmp_path / "x.pth")
    script = tmp_path / "convert.py"
    script.write_text(recipe())
    subprocess.run([sys.executable, script, tmp_path / "x.pth", tmp_path / "x.safetensors"], check=True)
    found = load_file(tmp_path / "x.safetensors")
    assert found.keys() == whole.keys()
    assert equal(build_encoder("test_resnet", weights=str(tmp_path / "x.safetensors")), whole)


def test_the_recipe_of_the_docs_runs_no_code_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "x.pth").write_bytes(b"cos\nsystem\n(S'touch ran'\ntR.")
    script = tmp_path / "convert.py"
    script.write_text(recipe())
    command = [sys.executable, script, tmp_path / "x.pth", tmp_path / "x.safetensors"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True)
    assert done.returncode != 0
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "x.safetensors").exists()
