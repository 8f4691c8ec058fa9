"""Where growing Markdown can be cut so that what stands before the cut no longer changes."""

from __future__ import annotations


def split_closed(markdown: str) -> tuple[str, str]:
    """Cut after the last empty line outside of a fenced block.

    Returns:
        The finished blocks, with their empty lines, and the open rest; joined they are `markdown`.

    """
    cut = position = 0
    fenced = False
    for line in markdown.splitlines(keepends=True):
        position += len(line)
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced and not line.strip() and line.endswith("\n"):
            cut = position
    closed = markdown[:cut]
    return (closed, markdown[cut:]) if closed.strip() else ("", markdown)
