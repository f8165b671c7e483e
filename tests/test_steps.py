import math

import pytest

from isthmus import steps

PUBLISHED_GRID = """0 1 2 3 4 6 8 11 16 23 32 45 64 91 128 181 256 362 512 724 1024 1448 2048
2896 4096 5793 8192 11585 16384 23170 32768 46341 62560"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", (0, 0)),
        (0, (0, 0)),
        ("0ep", (0, 0)),
        ("0it", (0, 0)),
        ("30ep", (30, 0)),
        ("500it", (0, 500)),
        ("2ep100it", (2, 100)),
        ("2ep0it", (2, 0)),
    ],
)
def test_a_step_is_epochs_and_further_iterations(text, expected):
    assert steps.parse(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "30", 30, "ep", "it", "30 ep", "-1it", "1.5ep", "2it3ep", "1ep1ep", "30EP", "every", None],
)
def test_anything_else_is_refused_with_the_three_ways_to_write_a_step(text):
    with pytest.raises(ValueError, match=f"{text!r} is not a step: write 30ep, 500it or 2ep100it"):
        steps.parse(text)


def test_to_iteration_counts_optimizer_steps():
    assert steps.to_iteration("2ep100it", iterations_per_epoch=391) == 2 * 391 + 100


@pytest.mark.parametrize("iterations_per_epoch", [1, 2, 7, 391])
def test_text_of_an_iteration_names_that_iteration(iterations_per_epoch):
    for iteration in range(1000):
        text = steps.to_text(iteration, iterations_per_epoch)
        assert steps.to_iteration(text, iterations_per_epoch) == iteration


@pytest.mark.parametrize(
    ("iteration", "expected"), [(0, "0ep"), (1, "1it"), (9, "9it"), (10, "1ep"), (25, "2ep5it")]
)
def test_text_of_an_iteration_counts_epochs_first(iteration, expected):
    assert steps.to_text(iteration, iterations_per_epoch=10) == expected


def test_all_texts_of_one_moment_have_one_canonical_text():
    texts = ["3ep", "300it", "2ep100it", "1ep200it", "0ep300it"]
    assert {steps.to_text(steps.to_iteration(text, 100), 100) for text in texts} == {"3ep"}


def test_log_grid_is_the_published_one():
    assert steps.log_grid(62560) == [int(number) for number in PUBLISHED_GRID.split()]


@pytest.mark.parametrize("end", [0, 1, 2, 3, 5, 11, 12, 1000])
def test_log_grid_is_the_ends_and_the_rounded_powers_of_root_two_between_them(end):
    powers = {round(math.sqrt(2) ** i) for i in range(40)}
    expected = sorted({0, end} | {power for power in powers if power < end})
    assert steps.log_grid(end) == expected


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (None, []),
        ([], []),
        (["0"], [0]),
        ([0, "1ep", "3it"], [0, 3, 10]),
        (["1ep", "10it", "0ep10it"], [10]),
        (["2ep5it"], [25]),
        ("every", [0, 10, 20]),
        ("every_2ep", [0, 20]),
        ("every_10ep", [0]),
        ("every_6it", [0, 6, 12, 18, 24]),
        ("every_5it", [0, 5, 10, 15, 20, 25]),
        ("every_1ep2it", [0, 12, 24]),
        ("log", [0, 1, 2, 3, 4, 6, 8, 11, 16, 23, 25]),
    ],
)
def test_a_request_is_its_iterations_in_order_each_once(request_, expected):
    assert steps.to_iterations(request_, iterations_per_epoch=10, end=25) == expected


def test_every_late_step_is_named_as_typed_with_the_end_of_training():
    with pytest.raises(ValueError) as refusal:
        steps.to_iterations(["1ep", "3ep", "2ep6it"], iterations_per_epoch=10, end=25)
    assert str(refusal.value) == (
        "3ep, 2ep6it is after the end of training, 2ep5it (25 iterations)"
    )


def test_a_step_of_a_request_that_is_none_is_refused():
    with pytest.raises(ValueError, match="'ten' is not a step"):
        steps.to_iterations(["1ep", "ten"], iterations_per_epoch=10, end=25)


@pytest.mark.parametrize("request_", ["evry", "1ep", "logs", "everything", ""])
def test_an_unknown_word_is_refused_with_the_words_there_are(request_):
    text = f"{request_!r} is not a list of steps, log, every, or every_10ep"
    with pytest.raises(ValueError, match=text):
        steps.to_iterations(request_, iterations_per_epoch=10, end=25)


@pytest.mark.parametrize("request_", ["every_0ep", "every_0it", "every_0"])
def test_a_period_of_nothing_is_refused(request_):
    with pytest.raises(ValueError, match=f"'{request_}' has no length: write every_10ep"):
        steps.period_of(request_, iterations_per_epoch=10)


def test_a_period_that_is_no_step_is_refused():
    with pytest.raises(ValueError, match="'10' is not a step"):
        steps.period_of("every_10", iterations_per_epoch=10)


def test_a_whole_number_is_an_iteration_already():
    assert steps.to_iteration(7, 10) == 7
    assert steps.to_iterations([12, "1ep", 0], 10, end=12) == [0, 10, 12]
    with pytest.raises(ValueError, match="1ep3it is after the end of training, 1ep2it"):
        steps.to_iterations([13], 10, end=12)
