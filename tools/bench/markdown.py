"""Tables and numbers in Markdown."""


def number(value):
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def milliseconds(microseconds):
    return f"{microseconds / 1000:.1f}"


def table(heads, rows):
    lines = [heads, ["---"] + ["---:"] * (len(heads) - 1), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def error_words(result):
    """How many errors there were, and the first one."""
    return f"{result.get('errors', 0)} {result.get('first_error', '')}".strip()
