"""Features in the plane, for the eye alone."""

from __future__ import annotations

import numpy as np

MAX_PERPLEXITY = 30.0


def tsne(features: np.ndarray, seed: int) -> np.ndarray:
    """Returns the t-SNE of features [N, C] in the plane [N, 2] (van der Maaten and Hinton, JMLR 2008)."""
    from sklearn.manifold import TSNE

    perplexity = min(MAX_PERPLEXITY, (len(features) - 1) / 3)
    made = TSNE(perplexity=perplexity, init="random", random_state=seed)
    return np.asarray(made.fit_transform(features.astype(np.float64)))
