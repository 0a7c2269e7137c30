"""Texts as they come: read, cleaned, cut into passages, compared word by word.

No vectors and no models: what needs an embedding belongs to `neighbors` or later.
"""

from smotext_core.texts.containers import checked_groups, checked_labels, checked_texts, resampled
from smotext_core.texts.corpora import corpus_frames, read_corpus, strip_newsgroup
from smotext_core.texts.diversity import MAX_TEXTS, Alike, diversity
from smotext_core.texts.held import Spool
from smotext_core.texts.known_texts import KnownTexts
from smotext_core.texts.languages import SAMPLED, languages
from smotext_core.texts.overlap import (
    add_to_index,
    copied_words,
    duplicates_within,
    is_near,
    near_duplicates,
    word_shingles,
)
from smotext_core.texts.passages import label_frames, label_texts
from smotext_core.texts.splitting import is_prose, passages, sentences
from smotext_core.texts.spreadsheet import csv_bytes, guarded, unguarded
from smotext_core.texts.tokenization import content, words
from smotext_core.texts.unlabelled import unlabelled_passages
from smotext_core.texts.vocabulary import unknown_words, vocabulary

__all__ = [
    "MAX_TEXTS",
    "SAMPLED",
    "Alike",
    "KnownTexts",
    "Spool",
    "add_to_index",
    "checked_groups",
    "checked_labels",
    "checked_texts",
    "content",
    "copied_words",
    "corpus_frames",
    "csv_bytes",
    "diversity",
    "duplicates_within",
    "guarded",
    "is_near",
    "is_prose",
    "label_frames",
    "label_texts",
    "languages",
    "near_duplicates",
    "passages",
    "read_corpus",
    "resampled",
    "sentences",
    "strip_newsgroup",
    "unguarded",
    "unknown_words",
    "unlabelled_passages",
    "vocabulary",
    "word_shingles",
    "words",
]
