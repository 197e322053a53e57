"""Networks with a purpose: a recurrent stack between an input and a head, its vocabulary, and its folder on disk."""

from ostinato.models.ensemble import Ensemble
from ostinato.models.evaluation import Evaluation
from ostinato.models.folder import load, save
from ostinato.models.language_model import LanguageModel, LanguageModelSize
from ostinato.models.sampling import Sampling
from ostinato.models.text_model import TextModel
from ostinato.models.vocabulary import ByteVocabulary, CharacterVocabulary

__all__ = [
    "ByteVocabulary",
    "CharacterVocabulary",
    "Ensemble",
    "Evaluation",
    "LanguageModel",
    "LanguageModelSize",
    "Sampling",
    "TextModel",
    "load",
    "save",
]
