"""Small models of KerasHub's classes, each with a vocabulary of any size asked for."""

from . import decoders as decoders
from . import encoder_decoders as encoder_decoders
from . import encoders as encoders
from . import images as images
from . import own as own
from .registry import DEFAULT_V as DEFAULT_V
from .registry import MODELS as MODELS
