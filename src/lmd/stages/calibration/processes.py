"""Class statistics of all processes from those of each."""

from __future__ import annotations

import torch.nn.functional as F

from lmd.losses.gaussian import ClassGaussians, merge_statistics
from lmd.processes.collectives import gather


def gather_statistics(local: ClassGaussians) -> ClassGaussians:
    """Returns the statistics of all processes' images from those of each process's own."""
    tensors = local.as_dict()
    tensors["rows"] = tensors["rows"].to(local.mean.device)
    lengths = gather(tensors["rows"].sum()[None]).tolist()
    if len(lengths) == 1:
        return local
    missing = max(lengths) - len(tensors["spread"])
    tensors["spread"] = F.pad(tensors["spread"], (0, 0, 0, missing))
    shared = {name: gather(tensor[None]) for name, tensor in tensors.items()}
    parts = [{name: tensor[w] for name, tensor in shared.items()} for w in range(len(lengths))]
    for part, length in zip(parts, lengths, strict=True):
        part["spread"] = part["spread"][:length]
    return merge_statistics([ClassGaussians.from_dict(part) for part in parts])
