"""Words that stand in no known text."""

from smotext_core.texts.vocabulary import unknown_words, vocabulary

KNOWN = {"the", "eye", "was", "red", "follow", "up", "she", "patient", "in"}


def test_vocabulary_counts_words_and_the_parts_of_hyphenated_ones() -> None:
    texts = ["The follow-up was short.", "A FOLLOW up, the patient's."]
    assert vocabulary(texts, min_count=2) == ["follow", "the", "up"]
    assert {"follow-up", "patient"} <= set(vocabulary(texts))


def test_unknown_words_finds_what_is_spelt_wrong_wherever_it_stands() -> None:
    assert unknown_words("Severtheless the eye was redish.", KNOWN) == ["severtheless", "redish"]


def test_unknown_words_lets_names_compounds_possessives_and_numbers_pass() -> None:
    text = "The patient's follow-up in Galesburg was 10mg x 3. She was red-eyed."
    assert unknown_words(text, KNOWN) == ["red-eyed"]


def test_unknown_words_takes_a_capital_at_the_start_of_a_sentence_as_a_word() -> None:
    assert unknown_words("She was red. Endolveals was red.", KNOWN) == ["endolveals"]


def test_unknown_words_of_no_words_is_empty() -> None:
    assert unknown_words(" 12/3 -- ", KNOWN) == []
