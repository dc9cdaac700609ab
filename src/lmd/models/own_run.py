"""The encoder of one's own earlier run, to begin another training with: `--weights RUN`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lmd.errors import SettingsError
from lmd.models.files import read_tensors
from lmd.models.names import normalisation
from lmd.models.packages import weights_path
from lmd.run import RunFolder, read_model_card

if TYPE_CHECKING:
    from torch import Tensor

_ENCODER = "encoder."


def own_run(weights: str | None) -> RunFolder | None:
    """Returns the finished run that `--weights` names; None where it names a file or a package.

    Raises:
        SettingsError, CheckpointError: it names a folder that is no such run.
    """
    if not weights or not Path(weights).is_dir():
        return None
    weights_path(weights)
    return RunFolder(Path(weights))


def encoder_of(run: RunFolder, name: str) -> dict[str, Tensor]:
    """Returns the encoder's tensors of a finished run, whatever classes it knows.

    Raises:
        SettingsError: its encoder is another one than `name`, or saw images normalised in another way.
        CheckpointError: the run is not finished, or damaged.
    """
    card = read_model_card(run)
    told = f"--weights {run.path}: its encoder is '{card.encoder}'"
    if card.encoder != name:
        raise SettingsError(f"{told}, this run wants '{name}'; --set encoder={card.encoder}")
    made, wanted = (card.preprocessing.mean, card.preprocessing.std), normalisation(name)
    if made != wanted:
        raise SettingsError(
            f"{told} and saw images normalised by mean and std {made[0]}, {made[1]}, this run would "
            f"normalise by {wanted[0]}, {wanted[1]}; take other weights"
        )
    tensors = read_tensors(run.weights)
    return {key.removeprefix(_ENCODER): value for key, value in tensors.items() if key.startswith(_ENCODER)}
