"""ICC's M-step as a scikit-learn classifier, for the features of any frozen encoder."""

from lmd.estimator.classifier import VirtualFeatureClassifier

__all__ = ["VirtualFeatureClassifier"]
