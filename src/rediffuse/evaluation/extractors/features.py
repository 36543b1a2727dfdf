"""What the small convolutional network says of a set of images: features, and classes."""

import numpy as np

from rediffuse.evaluation.extractors.batches import BATCH as BATCH
from rediffuse.evaluation.extractors.batches import in_batches
from rediffuse.evaluation.extractors.classifier import Classifier, Images, Labels
from rediffuse.evaluation.extractors.extractor import Features as Features


def extract(network: Classifier, images: Images) -> Features:
    """The feature vectors of uint8 images (N, C, H, W), as float32 (N, features), computed where the network lies."""
    return in_batches(network.features, images, network.shape.features, network.scale.device)


def classify(network: Classifier, features: Features) -> Labels:
    """The class of each row of `features` (N, d) by the network's head, as int64 (N,)."""
    logits = in_batches(network.logits, features, network.shape.classes, network.scale.device)
    return np.asarray(logits.argmax(axis=1), np.int64)
