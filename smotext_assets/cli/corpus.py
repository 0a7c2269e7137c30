"""Options that say how a corpus is read, of every command that reads one."""

import argparse
import os

from smotext_assets.graph import Corpus
from smotext_assets.stages import is_inbox

_OF_TEXTS = ("text", "newsgroups", "delimiter", "encoding")
_OF_LABELS = ("label", "id", "explode")


def add_corpus_options(parser: argparse.ArgumentParser) -> None:
    """The options beside the corpus itself."""
    add_reading_options(parser)
    add_label_options(parser)
    parser.add_argument("--id", default=None, metavar="COLUMN", help="column of ids")


def add_label_options(parser: argparse.ArgumentParser) -> None:
    """Those of labels."""
    parser.add_argument("--label", default="label", metavar="COLUMN", help="column of labels")
    parser.add_argument(
        "--explode",
        nargs="?",
        const=";",
        metavar="CHARACTER",
        help="a row for each label of a cell that is a list, or has several parted by this "
        "character, alone by ';'; default: a list is refused",
    )


def add_reading_options(parser: argparse.ArgumentParser) -> None:
    """Those that do without labels too."""
    parser.add_argument("--text", default="text", metavar="COLUMN", help="column of texts")
    parser.add_argument(
        "--newsgroups", action="store_true", help="strip headers, quotes and footers of posts"
    )
    parser.add_argument(
        "--delimiter",
        metavar="CHARACTER",
        help="between the fields of CSV, such as ';' or tab; default: found from the bytes",
    )
    parser.add_argument(
        "--encoding", help="of CSV and JSON, such as cp1252; default: found from the bytes"
    )


def asked_corpus(given: argparse.Namespace, *, usual: Corpus) -> Corpus:
    """The corpus that was given, else the usual one's source, read as the options say."""
    source = given.corpus or usual.source
    is_local = "://" not in source and (os.path.exists(source) or is_inbox(source))
    return Corpus(
        source=os.path.abspath(source) if is_local else source,
        text=given.text,
        label=given.label,
        document_id=given.id,
        newsgroups=given.newsgroups,
        delimiter=given.delimiter,
        encoding=given.encoding,
        explode=given.explode,
    )


def unlabelled_corpus(given: argparse.Namespace, *, usual: Corpus) -> Corpus:
    """The corpus without labels that was given, else the usual one, read as the labelled one is."""
    source = given.unlabelled or usual.source
    if not source:
        return usual
    is_local = "://" not in source and (os.path.exists(source) or is_inbox(source))
    return Corpus(
        source=os.path.abspath(source) if is_local else source,
        text=given.text,
        label=None,
        newsgroups=given.newsgroups,
        delimiter=given.delimiter,
        encoding=given.encoding,
    )


def check_reads(given: argparse.Namespace, *, run: str) -> None:
    """That there is something to read for the options that say how, of a run that is there.

    Raises:
        ValueError: its corpus is in the store, and such an option would be ignored.
    """
    names = _OF_LABELS if given.unlabelled else (*_OF_TEXTS, *_OF_LABELS)
    usual = {"text": "text", "label": "label"}
    ignored = [
        f"--{name}" for name in names if getattr(given, name) not in (usual.get(name), None, False)
    ]
    if ignored:
        raise ValueError(
            f"{', '.join(ignored)}: options of how a corpus is read need one to read, and the run "
            f"{run} takes the one in the store, which was read before: name the corpus too, or "
            "leave them out"
        )
