"""What the paper says: pure functions of tensors, one for each equation of arXiv 2502.03238.

All of them work in anybody's PyTorch loop, and have short names here:

    from lmd.losses import prior_cross_entropy, sample_consistency

docs/api.md says which is for what. The one exception is `lmd.losses.disagreement.disagreement`: a short
name would hide the module.
"""

from lmd.losses.class_balanced import weighted_binary_cross_entropy, weighted_cross_entropy
from lmd.losses.classification import cross_entropy, generalised_cross_entropy, linear_cross_entropy
from lmd.losses.cloud import angular_clouded_logits, clipped_noise, cloud_sizes, clouded_logits
from lmd.losses.contrastive import supervised_contrastive
from lmd.losses.covariance import ledoit_wolf_coefficients, oas_coefficients, pooled_covariance, shrink
from lmd.losses.distance import ClassMetric, prepare_metric
from lmd.losses.distillation import feature_distillation, logit_distillation
from lmd.losses.distribution import ExpectationLoss, attraction, expectation_loss, repulsion
from lmd.losses.exact import ExpectedCrossEntropy, Minimum, minimise, quasi_normal
from lmd.losses.focal import focal_loss, sigmoid_focal_loss
from lmd.losses.gaussian import ClassGaussians, ClassMoments, class_statistics, merge_statistics, smooth
from lmd.losses.margin import ldam_loss, ldam_margins
from lmd.losses.mixup import mixed_labels, soft_cross_entropy
from lmd.losses.perturbation import (
    ClassShift,
    class_gradients,
    class_shifts,
    feature_noise,
    shifted_logits,
)
from lmd.losses.prior import log_prior, prior_cross_entropy
from lmd.losses.relation import (
    channel_consistency,
    channel_relation,
    probability_consistency,
    sample_consistency,
    sample_relation,
)
from lmd.losses.seesaw import seesaw_loss
from lmd.losses.smoothing import smoothed_cross_entropy
from lmd.losses.virtual import VirtualFeatures

__all__ = [
    "ClassGaussians",
    "ClassMetric",
    "ClassMoments",
    "ClassShift",
    "ExpectationLoss",
    "ExpectedCrossEntropy",
    "Minimum",
    "VirtualFeatures",
    "angular_clouded_logits",
    "attraction",
    "channel_consistency",
    "channel_relation",
    "class_gradients",
    "class_shifts",
    "class_statistics",
    "clipped_noise",
    "cloud_sizes",
    "clouded_logits",
    "cross_entropy",
    "expectation_loss",
    "feature_distillation",
    "feature_noise",
    "focal_loss",
    "generalised_cross_entropy",
    "ldam_loss",
    "ldam_margins",
    "ledoit_wolf_coefficients",
    "linear_cross_entropy",
    "log_prior",
    "logit_distillation",
    "merge_statistics",
    "minimise",
    "mixed_labels",
    "oas_coefficients",
    "pooled_covariance",
    "prepare_metric",
    "prior_cross_entropy",
    "probability_consistency",
    "quasi_normal",
    "repulsion",
    "sample_consistency",
    "sample_relation",
    "seesaw_loss",
    "shifted_logits",
    "shrink",
    "sigmoid_focal_loss",
    "smooth",
    "smoothed_cross_entropy",
    "soft_cross_entropy",
    "supervised_contrastive",
    "weighted_binary_cross_entropy",
    "weighted_cross_entropy",
]
