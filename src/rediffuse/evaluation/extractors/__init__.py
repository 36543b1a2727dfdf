"""What turns an image into the feature vector that every score reads; a file an extractor, a line in `registry`."""

from rediffuse.evaluation.extractors.extractor import Extractor, ExtractorSettings, Features, Images, Labels

__all__ = ["Extractor", "ExtractorSettings", "Features", "Images", "Labels"]
