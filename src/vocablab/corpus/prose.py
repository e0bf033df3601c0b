"""Generated prose: small stories about people, things and places, with or without a product in them.

The text is as poor as templates are; it serves studies that must run anywhere in minutes. Products appear in
several surface forms and both operand orders, and always with their right answer.
"""

import numpy as np

NAMES = [
    "Ada",
    "Ben",
    "Clara",
    "Dev",
    "Elif",
    "Finn",
    "Grace",
    "Hugo",
    "Ines",
    "Jun",
    "Kofi",
    "Lena",
    "Mara",
    "Noor",
    "Omar",
    "Petra",
    "Quinn",
    "Rosa",
    "Sam",
    "Tara",
]
THINGS = [
    "apples",
    "books",
    "cards",
    "coins",
    "cups",
    "eggs",
    "flowers",
    "keys",
    "lamps",
    "pens",
    "plates",
    "shells",
    "stamps",
    "stones",
    "tickets",
    "toys",
]
HOLDERS = ["bags", "baskets", "boxes", "crates", "drawers", "jars", "piles", "rows", "shelves", "trays"]
PLACES = [
    "at the market",
    "in the garden",
    "by the river",
    "at school",
    "in the kitchen",
    "near the station",
    "on the hill",
]
TIMES = [
    "In the morning",
    "After lunch",
    "On Monday",
    "Before dinner",
    "That evening",
    "On a rainy day",
    "Last week",
]
MOODS = ["happy", "tired", "proud", "quiet", "curious", "calm", "cheerful"]
COLOURS = ["red", "blue", "green", "yellow", "white", "black", "orange"]

PLAIN = (
    "{time} {name} walked with {friend} and talked about the {colour} {thing}.",
    "{name} was {mood} and sat {place} for a while.",
    "{time} {name} found some {thing} {place} and showed them to {friend}.",
    "{friend} asked {name} for the {colour} {holder}, and {name} was {mood}.",
    "The {colour} {thing} stood {place}, and nobody knew who had left them there.",
    "{name} wrote a letter to {friend} about the {thing} and the {holder}.",
)
STORY = (
    "{name} filled {a} {holder} with {b} {thing} each. {product}, so there were {c} {thing}.",
    "{time} {name} counted {a} {holder} of {b} {thing}. {friend} wrote {product} on a {colour} card.",
    "There are {a} {holder} {place} and each holds {b} {thing}. Since {product}, {name} has {c} {thing}.",
    "{friend} asked how many {thing} are in {a} {holder} of {b}. {name} said that {product}.",
)
TABLE_LINE = "{name} read from the table: {products}."
SURFACES = ("{a} * {b} = {c}", "{a}*{b}={c}", "{a} × {b} = {c}", "{a} * {b} = {c}", "{a} times {b} is {c}")
"""How a product is written; the first form is the most frequent."""


def write_document(rng: np.random.Generator, dose: float) -> str:
    """One document of five to nine sentences; with probability `dose` two to four of them state products."""

    def choose(options: tuple[str, ...] | list[str]) -> str:
        return options[int(rng.integers(len(options)))]

    def product() -> tuple[int, int, str]:
        a, b = (int(value) for value in rng.integers(1, 10, size=2))
        return a, b, choose(SURFACES).format(a=a, b=b, c=a * b)

    name, friend = (str(n) for n in rng.choice(NAMES, size=2, replace=False))

    def sentence(with_product: bool) -> str:
        a, b, text = product()
        words = {
            "name": name, "friend": friend, "thing": choose(THINGS), "holder": choose(HOLDERS),
            "place": choose(PLACES), "time": choose(TIMES), "mood": choose(MOODS), "colour": choose(COLOURS),
        }  # fmt: skip
        if not with_product:
            return choose(PLAIN).format(**words)
        if rng.random() < 0.4:
            products = ", ".join([text, *(product()[2] for _ in range(int(rng.integers(2, 5))))])
            return TABLE_LINE.format(**words, products=products)
        return choose(STORY).format(**words, a=a, b=b, c=a * b, product=text)

    length = int(rng.integers(5, 10))
    arithmetic = int(rng.integers(2, 5)) if rng.random() < dose else 0
    flags = [True] * arithmetic + [False] * (length - arithmetic)
    return " ".join(sentence(bool(flags[int(i)])) for i in rng.permutation(length)) + "\n"
