"""The case study: decode five points between two clinical notes and tabulate what the texts say.

Fills in `case-study.template.md` and writes `case-study.md` and `images/case-*.png` beside itself
or in the folder --out. Run it again when the weights change.

    python docs/case_study.py
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

import numpy as np
from case_pictures import attribute_matrix, cosine_chart, path_map
from numpy.typing import NDArray

from smotext_core.card import markdown_rows, markdown_text
from smotext_core.texts import read_corpus
from smotext_core.xrag import Candidates, Generator, load_generator

# After appendix A.1 of the SMOTExT paper; the words are ours.
NOTES = (
    "This is a 24-year-old male who presents with a sore throat, fever and cough for three days. "
    "The throat is red and the tonsils are enlarged. He was given amoxicillin for pharyngitis.",
    "This is a 78-year-old female with a history of diabetes and hypertension who presents with "
    "shortness of breath. She has edema of both legs and was started on Lasix for congestive "
    "heart failure.",
)
TEMPLATE = Path(__file__).with_name("case-study.template.md")
LAMS = (0.0, 0.25, 0.5, 0.75, 1.0)
N_CANDIDATES = 16
SHOWN = (0, N_CANDIDATES // 2 - 1, N_CANDIDATES - 1)  # the closest, the middle, the farthest

# The rule: an attribute is there if one of its words is. The first of its words is its name.
AGE = re.compile(r"\b(\d{1,3})[- ]years?[- ]old\b|\baged? (?:of )?(\d{1,3})\b", re.IGNORECASE)
WORDS = {
    "sex": "male, man, gentleman, boy, he, him, his, Mr; female, woman, lady, girl, she, her, Mrs",
    "complaints": "throat; cough, coughing; fever, febrile; shortness of breath, short of breath, "
    "dyspnea, dyspnoea, breathless, breathlessness; chest pain, angina; headache; nausea; "
    "vomiting; chills, chill, night sweat; fatigue, weakness; dizziness, dizzy; weight loss",
    "findings": "red, redness, erythema; tonsil, tonsillar; enlarged, enlargement; edema, oedema, "
    "swelling, swollen; crackle, rale; wheezing, wheeze; murmur; effusion; blood pressure; "
    "respiratory distress",
    "diagnoses": "pharyngitis, tonsillitis, strep; infection; influenza, flu; pneumonia; "
    "bronchitis; asthma; obstructive pulmonary disease, COPD; diabetes, diabetic; hypertension, "
    "hypertensive; heart failure; coronary artery disease, heart disease; atrial fibrillation; "
    "stroke; renal failure, renal insufficiency, kidney disease",
    "treatment": "amoxicillin, penicillin, azithromycin; antibiotic; ibuprofen, acetaminophen, "
    "Tylenol; Lasix, furosemide, diuretic; insulin, metformin; lisinopril; metoprolol; aspirin; "
    "oxygen; steroid, prednisone; dialysis, hemodialysis; surgery, bypass",
}
_PATTERNS = [
    (kind, words.split(", ")[0], re.compile(rf"\b(?:{words.replace(', ', '|')})s?\b", re.I))
    for kind, entries in WORDS.items()
    for words in entries.split("; ")
]


def attributes(text: str) -> list[tuple[str, str]]:
    """Kind and name of each attribute in `text`, once: ages in years, then WORDS in their order."""
    ages = dict.fromkeys(str(int(match[1] or match[2])) for match in AGE.finditer(text))
    words = [(kind, name) for kind, name, pattern in _PATTERNS if pattern.search(text)]
    return [*(("age", age) for age in ages), *words]


class Study(NamedTuple):
    """Two notes, the l points between them, c texts decoded from each, and n real notes."""

    notes: tuple[str, str]
    parents: NDArray[np.float64]  # (2, d), as the generator gives them
    points: NDArray[np.float64]  # (l, d), from note A to note B, of unit length
    found: Candidates  # l rows of c texts, the closest first
    decoded: NDArray[np.float64]  # (l, c, d), of unit length
    other: Candidates  # the same for 0 < λ < 1, from points scaled the other way
    restored: bool  # whether `found` has the points with the length restored, or `other`
    shrunk: float  # length of the plain mix at λ = .5, the notes' mean length being 1
    real_texts: list[str]
    real_labels: list[str]
    real: NDArray[np.float64]  # (n, d), of unit length

    def to_notes(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Cosines (..., 2) of unit vectors (..., d) to note A and to note B."""
        return vectors @ self.points[[0, -1]].T


def decode_path(
    generator: Generator, notes: tuple[str, str], texts: list[str], labels: list[str]
) -> Study:
    """Decode N_CANDIDATES texts at each of LAMS; the real notes are `texts` with their `labels`.

    As in the graph, a mix gets back the length of its parents where the generator's vectors are
    of unit length, and stays as it is elsewhere.
    """
    parents = generator.encode(notes).astype(np.float64)
    weights = np.array([(1 - lam, lam) for lam in LAMS])
    plain = weights @ parents
    norms = np.linalg.norm(parents, axis=1)
    restored = _unit(plain) * (weights @ norms)[:, None]
    mixed, others = (restored, plain) if generator.normalized else (plain, restored)
    seeds = list(range(len(LAMS)))
    # One call: the embedded decoder works on 128 texts at a time, and these are 8 × 16.
    both = generator.decode_candidates(
        np.concatenate([mixed, others[1:-1]]).astype(np.float32),
        seeds=[*seeds, *seeds[1:-1]],
        n_candidates=N_CANDIDATES,
    )
    n = len(LAMS)
    found = Candidates(both.texts[:n], both.cosines[:n], both.embeddings[:n])
    return Study(
        notes=notes,
        parents=parents,
        points=_unit(plain),
        found=found,
        decoded=_unit(found.embeddings),
        other=Candidates(both.texts[n:], both.cosines[n:], both.embeddings[n:]),
        restored=generator.normalized,
        shrunk=float(np.linalg.norm(plain[n // 2]) / norms.mean()),
        real_texts=texts,
        real_labels=labels,
        real=_unit(generator.encode(texts)),
    )


def _unit(vectors: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    rows = np.asarray(vectors, dtype=np.float64)
    unit: NDArray[np.float64] = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    return unit


def write_page(study: Study, *, name: str, licence: str, fingerprint: str) -> str:
    """The page in Markdown. Whatever the study or the generator's manifest says is escaped."""
    facts = [
        ("generator", name),
        ("its licence", licence),
        ("its fingerprint", fingerprint),
        ("cosine of the two notes", study.points[0] @ study.points[-1]),
        ("texts decoded", f"{len(LAMS)} points × {N_CANDIDATES}"),
    ]
    closest = [
        (f"{lam:g}", texts[0], study.found.cosines[row, 0])
        for row, (lam, texts) in enumerate(zip(LAMS, study.found.texts, strict=True))
    ]
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        note_a=markdown_text(study.notes[0], max_characters=700),
        note_b=markdown_text(study.notes[1], max_characters=700),
        facts=_table(("", ""), facts),
        n=N_CANDIDATES,
        closest=_table(("λ", "the closest text", "cosine to its point"), closest),
        cosines=_cosines(study),
        attributes=_attributes(study),
        ranks=" and ".join(str(rank + 1) for rank in SHOWN[1:]),
        further=_further(study),
        length=_length(study),
        age=AGE.pattern,
        words=_table(("kind", "words"), list(WORDS.items())),
    )


def _further(study: Study) -> str:
    to_notes = study.to_notes(study.decoded)  # (l, c, 2)
    to_real = study.points @ study.real.T  # (l, n)
    blocks = []
    for row, (lam, texts) in enumerate(zip(LAMS, study.found.texts, strict=True)):
        rows = [
            (rank + 1, texts[rank], study.found.cosines[row, rank], *to_notes[row, rank])
            for rank in SHOWN
        ]
        near = int(to_real[row].argmax())
        real = markdown_text(study.real_texts[near], max_characters=700)
        label = markdown_text(study.real_labels[near])
        blocks += [
            f"### λ = {lam:g}: {1 - lam:.0%} of note A, {lam:.0%} of note B",
            _table(("", "decoded text", "to its point", "to A", "to B"), rows),
            f"The real note nearest to this point ({label}, cosine {to_real[row, near]:.2f}):",
            f"> {real}",
        ]
    return "\n\n".join(blocks)


def _cosines(study: Study) -> str:
    points, decoded = study.to_notes(study.points), study.to_notes(study.decoded)
    to_real = (study.points @ study.real.T).max(axis=1)
    names = ["λ"]
    columns: list[NDArray[Any]] = []
    for side, note in enumerate(("A", "B")):
        names += [f"to {note}: point", "closest text", "mean"]
        columns += [points[:, side], decoded[:, 0, side], decoded[:, :, side].mean(axis=1)]
    names += ["to the point: closest text", "mean", "nearest real note"]
    columns += [study.found.cosines[:, 0], study.found.cosines.mean(axis=1), to_real]
    rows = [(f"{lam:g}", *(column[row] for column in columns)) for row, lam in enumerate(LAMS)]
    return _table(names, rows)


def _attributes(study: Study) -> str:
    notes = [attributes(note) for note in study.notes]
    said = [[attributes(text) for text in texts] for texts in study.found.texts]
    kinds = ("age", *WORDS)
    columns = ["note A", *(f"λ = {lam:g}" for lam in LAMS), "note B"]
    closest = [notes[0], *(texts[0] for texts in said), notes[1]]
    words = [
        (column, *(", ".join(n for k, n in found if k == kind) or "–" for kind in kinds))
        for column, found in zip(columns, closest, strict=True)
    ]
    shares = np.array([[_shares(found, notes) for found in texts] for texts in said])  # (l, c, 3)
    counts = [
        (f"{lam:g}", *map(int, shares[i, 0]), *(f"{mean:.1f}" for mean in shares[i].mean(axis=0)))
        for i, lam in enumerate(LAMS)
    ]
    ages = [
        f"{sum(pair in found for found in said[at])} of {N_CANDIDATES} say {pair[1]} "
        f"at λ = {LAMS[at]:g}"
        for at, note in ((0, notes[0]), (-1, notes[1]))
        for pair in note
        if pair[0] == "age"
    ]
    names = ("λ", "closest: of A", "of B", "neither", f"mean of {N_CANDIDATES}: of A", "of B")
    blocks = [
        _table(("closest text", *kinds), words),
        "How many attributes a text shares with the notes, and how many neither note has "
        f"(note A has {len(notes[0])}, note B {len(notes[1])}):",
        _table((*names, "neither"), counts),
        *([f"The ages of the notes: {'; '.join(ages)}."] if ages else []),
    ]
    return "\n\n".join(blocks)


def _shares(
    found: Sequence[tuple[str, str]], notes: Sequence[Sequence[tuple[str, str]]]
) -> tuple[int, int, int]:
    """How many of the attributes `found` are note A's, note B's and no note's."""
    a, b = (sum(pair in note for pair in found) for note in notes)
    return a, b, sum(pair not in notes[0] and pair not in notes[1] for pair in found)


def _length(study: Study) -> str:
    inner = study.found.texts[1:-1]
    same = sum(
        len(set(ours) & set(theirs)) for ours, theirs in zip(inner, study.other.texts, strict=True)
    )
    cosines = [study.found.cosines[1:-1], study.other.cosines]
    restored, plain = cosines if study.restored else cosines[::-1]
    sides = [
        f"{side} {', '.join(f'{cosine:.2f}' for cosine in found[:, 0])} (mean of all "
        f"{found.size}: {found.mean():.3f})"
        for side, found in (("with the length restored", restored), ("plain", plain))
    ]
    return (
        f"Here the plain mix at λ = .5 has {study.shrunk:.2f} of its parents' length. Cosine of "
        f"the closest text to its point at λ = .25, .5 and .75: {sides[0]}; {sides[1]}. Of the "
        f"{restored.size} texts {same} are the same both ways. The texts above were decoded "
        f"{'with the length restored' if study.restored else 'from the plain mix'}."
    )


def _table(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    shown = [[f"{v:.2f}" if isinstance(v, float | np.floating) else v for v in r] for r in rows]
    return markdown_rows(names, shown, max_characters=700)


def main() -> None:
    parser = argparse.ArgumentParser(description="write the case study's page and pictures")
    parser.add_argument("--generator", default="small", help="a name as in a run, or a folder")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    given = parser.parse_args()
    generator = load_generator(given.generator, device=given.device)
    corpus, _ = read_corpus("clinic_notes", label="label")
    study = decode_path(generator, NOTES, corpus["text"].to_list(), corpus["label"].to_list())
    images = given.out / "images"
    images.mkdir(parents=True, exist_ok=True)
    decoded, real, labels = study.decoded, study.real, study.real_labels
    pictures = {
        "cosine": cosine_chart(decoded=decoded, parents=study.parents, real=real, lams=LAMS),
        "map": path_map(study.points, decoded=decoded, real=real, labels=labels, lams=LAMS),
        "attributes": attribute_matrix(
            [attributes(note) for note in NOTES],
            [[attributes(text) for text in texts] for texts in study.found.texts],
            lams=LAMS,
        ),
    }
    for name, png in pictures.items():
        (images / f"case-{name}.png").write_bytes(png)
    text = write_page(
        study, name=generator.name, licence=generator.licence, fingerprint=generator.fingerprint
    )
    (given.out / "case-study.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
