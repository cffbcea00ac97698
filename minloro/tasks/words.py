"""Numbers and their signs in words, as prompts say them."""


def signed(value: float, digits: int, unit: str = "") -> str:
    """Return a number with its sign and its unit, if it has one; never a negative zero.

    >>> signed(-0.00001, 3, "rad"), signed(0.25, 3, "rad")
    ('0.000 rad', '+0.250 rad')
    """
    rounded = round(float(value), digits)
    number = f"{rounded:+.{digits}f}" if rounded else f"{0:.{digits}f}"
    return f"{number} {unit}".rstrip()


def side(value: float, digits: int, negative: str, zero: str, positive: str) -> str:
    """Return the words for the sign of `value` as it is printed with `digits` digits.

    >>> side(-0.1, 3, "to the left", "standing still", "to the right")
    'to the left'
    """
    rounded = round(float(value), digits)
    if rounded == 0:
        return zero
    return negative if rounded < 0 else positive


def quantity(
    name: str, value: float, digits: int, unit: str, words: tuple[str, str, str], beside: str = ""
) -> str:
    """Return a line with a signed number and words for its sign.

    words: for a negative value, for zero and for a positive value. beside: text right behind the
    number.

    >>> quantity("Car velocity", 0.0, 4, "a step", DRIVING)
    'Car velocity: 0.0000 a step, standing still'
    """
    return f"{name}: {signed(value, digits, unit)}{beside}, {side(value, digits, *words)}"


def state_text(*lines: str) -> str:
    """Return the lines that describe a state, under their heading."""
    return "\n".join(("The current state:", *lines))


DRIVING = ("moving to the left", "standing still", "moving to the right")
SWINGING = ("turning clockwise", "not turning", "turning counter-clockwise")
