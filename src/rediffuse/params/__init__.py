"""params.yaml as typed, frozen, validated objects: a pipeline starts with sound parameters or not at all."""

from rediffuse.params.combined import Params
from rediffuse.params.data import (
    ChecksParams,
    CleanParams,
    ColumnsParams,
    DecodeParams,
    PrepareParams,
    SplitParams,
    TorchvisionParams,
)
from rediffuse.params.diffusion import DiffusionParams
from rediffuse.params.evaluate import EvaluateParams, LikelihoodParams, RegisterParams, SweepParams
from rediffuse.params.loading import flatten, known_keys, load_params
from rediffuse.params.prompts import PromptsParams
from rediffuse.params.reference import ReferenceParams
from rediffuse.params.sampling import SampleParams
from rediffuse.params.sections import GuardParams, ModelParams, RuntimeParams, Section, TrainParams

__all__ = [
    "ChecksParams",
    "CleanParams",
    "ColumnsParams",
    "DecodeParams",
    "DiffusionParams",
    "EvaluateParams",
    "GuardParams",
    "LikelihoodParams",
    "ModelParams",
    "Params",
    "PrepareParams",
    "PromptsParams",
    "ReferenceParams",
    "RegisterParams",
    "RuntimeParams",
    "SampleParams",
    "Section",
    "SplitParams",
    "SweepParams",
    "TorchvisionParams",
    "TrainParams",
    "flatten",
    "known_keys",
    "load_params",
]
