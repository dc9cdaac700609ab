"""A run becomes an export: written and verified in a folder beside, then put in place as a whole."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lmd.data.dataset.folds_folder import Folds
from lmd.data.dataset.manifest import Dataset
from lmd.data.dataset.output import becoming
from lmd.deployment.export import monai_bundle, onnx_file, smaller, torch_file
from lmd.deployment.export.about import Export, input_of, metadata, readme
from lmd.deployment.export.agreement import (
    Agreement,
    Answers,
    answers_of,
    check_agreement,
    reference_of,
)
from lmd.deployment.export.asked import MONAI, ONNX, Asked
from lmd.deployment.export.images import Sample, data_of, evenly, pixels_of, sample_of
from lmd.deployment.export.loss import Labelled, Loss, labelled
from lmd.deployment.export.onnx_file import Answering
from lmd.deployment.export.program import program_of
from lmd.deployment.export.whole import whole
from lmd.evaluation.predict import Model
from lmd.folds.either import load_either
from lmd.folds.folder import FoldsRun
from lmd.model_card import ModelCard
from lmd.parallel import Steps, quiet
from lmd.run import RunFolder
from lmd.seals import sha256_of

_FILES = {
    "MODEL_CARD.md": "how it was trained, what was measured, and its limits",
    "export.json": "all that this page says, for programs",
}
_VARIANTS = {"model-fp16.onnx": "the same with an encoder in fp16", "model-int8.onnx": "the same in int8"}
_MODEL = "model.onnx"


def export_run(
    run: RunFolder,
    out: Path,
    asked: Asked,
    data: Dataset | Folds | None = None,
    progress: Steps = quiet,
) -> Export:
    """Writes the model of a run into a new folder, once it agrees with the network, and returns what it is.

    Raises:
        CheckpointError: the run has not finished, or the export does not agree with its network.
        DataError: the folder is in use or cannot be written, or images are missing.
        SettingsError: what is asked for does not exist, or the encoder cannot be exported.
    """
    asked.check(out)
    model = load_either(run, isinstance(run, FoldsRun))
    dataset, why = data_of(run, model.card, data)
    sample = sample_of(model.card, dataset, why, asked.images)
    work = Work(run, model, asked, dataset, why, sample, progress)
    work.check()
    with _leaving_nothing(out), becoming(out) as folder:
        return work.fill(folder)


@contextmanager
def _leaving_nothing(out: Path) -> Iterator[None]:
    """Removes the folders above `out` that were made for it, should it not come about."""
    made = [folder for folder in out.absolute().parents if not folder.exists()]
    try:
        yield
    except BaseException:
        for folder in made:
            with suppress(OSError):
                folder.rmdir()
        raise


@dataclass(frozen=True)
class Work:
    """An export that is being made."""

    run: RunFolder
    model: Model
    asked: Asked
    dataset: Dataset | None
    why_none: str | None
    sample: Sample
    progress: Steps

    def check(self) -> None:
        """Has what the loss of variants is measured on, or refuses, before the long work."""
        if self.asked.variants:
            assert self.labelled

    @cached_property
    def labelled(self) -> Labelled:
        """The images on which the loss of variants is measured."""
        told = f"{self.asked.split} images"
        if self.dataset is not None:
            told += f" of {self.dataset.info.title}"
        if isinstance(self.run, FoldsRun):
            told += " (most of its models were trained on these: the difference counts, not the values)"
        return labelled(self.model, self.dataset, self.why_none, self.asked.split, told)

    @cached_property
    def weights(self) -> list[str]:
        """The hashes of the weights of each network."""
        runs = list(self.run.folds.values()) if isinstance(self.run, FoldsRun) else [self.run]
        return [sha256_of(one.weights) for one in runs]

    @property
    def card(self) -> ModelCard:
        """The card of the model; of several models it names no file of one of them."""
        card = self.model.card
        return card.model_copy(update={"files": {}}) if isinstance(self.run, FoldsRun) else card

    def fill(self, folder: Path) -> Export:
        """Writes all files into an empty folder."""
        of_predict = answers_of(self.model, self.sample)  # Before the network goes to the CPU.
        wanted = answers_of(reference_of(self.model), self.sample)
        names, answer = self._write(folder)
        found = self._agreement(answer, wanted, of_predict)
        losses = self._variants(folder, answer) if self.asked.variants else {}
        names |= {name: _VARIANTS[name] for name in losses}
        return self._describe(folder, names, found, losses)

    def _write(self, folder: Path) -> tuple[dict[str, str], Answering]:
        """Writes the model, and returns what its files are and what it answers once it is loaded again."""
        card, about = self.card, metadata(self.card, self.weights)
        module = whole(self.model.network, card)
        program = program_of(module, card.encoder, card.preprocessing.size)
        if self.asked.kind == MONAI:
            return dict(monai_bundle.NAMES), monai_bundle.write_bundle(folder, program, about, card)
        if self.asked.kind == ONNX:
            onnx_file.write_onnx(folder / _MODEL, onnx_file.onnx_of(program, card.encoder), about)
            return {_MODEL: "the model"}, onnx_file.answering(folder / _MODEL)
        return dict(torch_file.NAMES), torch_file.write_torch(folder, program, about)

    def _agreement(self, answer: Answering, wanted: Answers, of_predict: Answers) -> Agreement:
        name = f"the export of {self.run.path} as {self.asked.kind}"
        return check_agreement(name, answer, wanted, of_predict, self.sample, self.model.card)

    def _variants(self, folder: Path, answer: Answering) -> dict[str, Loss]:
        """Writes the variants that are asked for, and returns what each loses."""
        export = self.labelled.answers(answer, self.progress)
        losses: dict[str, Loss] = {}
        for name in _VARIANTS:
            if (self.asked.fp16 and "fp16" in name) or (self.asked.int8 and "int8" in name):
                path = folder / name
                self._write_variant(path, folder / _MODEL)
                found = self.labelled.answers(onnx_file.answering(path), self.progress)
                losses[name] = self.labelled.loss(export, found, path.stat().st_size)
        return losses

    def _write_variant(self, path: Path, source: Path) -> None:
        card, about = self.card, metadata(self.card, self.weights)
        if "int8" in path.name:
            smaller.write_int8(source, path, self._calibration(), about | {"variant": "int8"})
            return
        module = whole(self.model.network, card, half=True)
        program = program_of(module, card.encoder, card.preprocessing.size)
        onnx_file.write_onnx(path, onnx_file.onnx_of(program, card.encoder), about | {"variant": "fp16"})

    def _calibration(self) -> Any:
        """Training images for the ranges of activations; of a data set without them, validation images."""
        dataset = self.labelled.dataset
        split = next(name for name in ("train", "val", "test") if not dataset.split(name).empty)
        rows = evenly(dataset, split, smaller.CALIBRATION)
        return pixels_of(self.card.preprocessing, dataset, rows)

    def _describe(
        self, folder: Path, names: dict[str, str], agreement: Agreement, losses: dict[str, Loss]
    ) -> Export:
        """Writes what the export says of itself."""
        if (self.run.path / "MODEL_CARD.md").is_file():
            shutil.copyfile(self.run.path / "MODEL_CARD.md", folder / "MODEL_CARD.md")
        files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*"))}
        export = Export(
            kind=self.asked.kind,
            models=len(self.weights),
            weights_sha256=self.weights,
            classes=self.card.classes,
            input=input_of(self.card),
            agreement=agreement,
            variants=losses,
            files={name: sha256_of(path) for name, path in files.items() if path.is_file()},
            card=self.card.model_dump(mode="json"),
        )
        page = folder / (monai_bundle.README if self.asked.kind == MONAI else "README.md")
        there = {name: what for name, what in (names | _FILES).items() if name in {*files, "export.json"}}
        page.write_text(readme(export, self.card, there), encoding="utf-8")
        text = json.dumps(export.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"
        (folder / "export.json").write_text(text, encoding="utf-8")
        return export
