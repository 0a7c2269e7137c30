"""`smotext train-generator`: a generator of any encoder and any causal language model."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from smotext_assets.cli.corpus import add_reading_options
from smotext_assets.graph import StoreResource
from smotext_core.texts import read_corpus


def add_train_generator(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    model = "a folder, or a name on the Hugging Face hub with its commit"
    parser.add_argument("--encoder", required=True, help=f"of texts: {model}")
    parser.add_argument("--encoder-revision", help="its commit on the hub, 40 hex digits")
    parser.add_argument(
        "--pooling", choices=["mean", "cls", "last"], default="mean", help="of the encoder's tokens"
    )
    parser.add_argument(
        "--raw", action="store_true", help="vectors as they are, not brought to unit length"
    )
    parser.add_argument(
        "--encoder-tokens", type=int, default=256, help="of a text that the encoder reads"
    )
    parser.add_argument("--lm", required=True, help=f"causal language model: {model}")
    parser.add_argument("--lm-revision", help="its commit on the hub, 40 hex digits")
    parser.add_argument("--prompt", help="with {xrag_token} where the vector goes")
    parser.add_argument("--corpus", required=True, help="as of smotext run; labels are not needed")
    add_reading_options(parser)
    parser.add_argument("--max-words", type=int, default=45, help="of a passage")
    parser.add_argument("--max-tokens", type=int, default=96, help="of a decoded text")
    parser.add_argument("--out", type=Path, required=True, help="the generator folder")
    parser.add_argument("--licence", default="not stated", help="of the generator")
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument(
        "--second-stage",
        type=int,
        default=0,
        metavar="STEPS",
        help="after those: also near to what the model says when it reads the text itself",
    )
    parser.add_argument("--tokens", type=int, default=1, help="that a vector becomes in the prompt")
    parser.add_argument(
        "--lora",
        type=int,
        default=0,
        metavar="RANK",
        help="train an adapter of the language model too",
    )
    parser.add_argument("--batch-size", type=int, default=32, help="passages a step")
    parser.add_argument(
        "--learning-rate", type=float, help="the highest; default: 6e-3, 8e-4 with --lora"
    )
    parser.add_argument("--second-learning-rate", type=float, default=1e-4)
    parser.add_argument("--checkpoint-every", type=int, default=250, metavar="STEPS")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")


def train_generator_command(
    given: argparse.Namespace, *, store: StoreResource, console: Console
) -> int:
    """Train, or go on from the checkpoint in `--out`; returns the exit status.

    Raises:
        ValueError: an option, model or corpus that cannot be.
    """
    from smotext_core.training import PROMPT, train_generator

    # A text stands in for its label: training needs none.
    documents, rejected = read_corpus(
        given.corpus,
        text=given.text,
        label=given.text,
        newsgroups=given.newsgroups,
        delimiter=given.delimiter,
        encoding=given.encoding,
        open_bytes=store.open_bytes,
    )
    told = f"{given.corpus}: {documents.height} texts, {rejected.height} rows refused"
    console.print(told, markup=False, highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Bar(*columns, TimeElapsedColumn(), console=console) as bar:

        def progress(what: str, total: int) -> Callable[[int], None]:
            task = bar.add_task(what, total=total)
            return lambda done: bar.advance(task, done)

        def report(line: Mapping[str, float]) -> None:
            trained = f"NLL {line['train_nll']:.3f}, " if line["step"] else ""
            console.print(
                f"step {line['step']:.0f}: {trained}held out {line['held_out_nll']:.3f}, "
                f"round-trip cosine {line['cosine']:.3f}",
                highlight=False,
            )

        train_generator(
            documents,
            given.out,
            encoder={
                "name": given.encoder,
                "revision": given.encoder_revision,
                "pooling": given.pooling,
                "normalized": not given.raw,
                "max_tokens": given.encoder_tokens,
            },
            lm={"name": given.lm, "revision": given.lm_revision},
            steps=given.steps,
            second_stage=given.second_stage,
            tokens=given.tokens,
            lora=given.lora,
            batch_size=given.batch_size,
            learning_rate=given.learning_rate,
            second_learning_rate=given.second_learning_rate,
            checkpoint_every=given.checkpoint_every,
            template=given.prompt or PROMPT,
            max_words=given.max_words,
            max_new_tokens=given.max_tokens,
            licence=given.licence,
            seed=given.seed,
            device=given.device,
            progress=progress,
            report=report,
        )
    console.print(
        f"written: SMOTEXT_GENERATOR={given.out}, or smotext run --generator {given.out}",
        markup=False,
        highlight=False,
    )
    return 0
