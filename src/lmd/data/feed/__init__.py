"""From pixels to batches: orders, random draws, views.

The views are in `lmd.data.feed.views`, which needs torch; the sampler does without.
"""

from lmd.data.feed.sampling import OrderSampler, class_shares, sampling_order

__all__ = ["OrderSampler", "class_shares", "sampling_order"]
