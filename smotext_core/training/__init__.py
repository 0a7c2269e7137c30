"""How a generator comes to be: text to train on, objectives, the loop, adaptation, recipes.

What a trained generator does with vectors is `xrag`'s.
"""

from smotext_core.training.adaptation import adapt, adaptation_figures, default_rate
from smotext_core.training.pretraining import PROMPT, train_generator
from smotext_core.training.training_texts import document_digest, training_passages

__all__ = [
    "PROMPT",
    "adapt",
    "adaptation_figures",
    "default_rate",
    "document_digest",
    "train_generator",
    "training_passages",
]
