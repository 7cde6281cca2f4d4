"""The text of an HTML page, as Markdown: a program of its own, since taking a page apart can hang or eat all memory.

Standard input: the page. Standard output: JSON with `title` and `text`. The argument: where the page stands.
"""

from __future__ import annotations

import json
import resource
import sys

import trafilatura

CPU_S = 20
MEMORY = 1 << 30
MOST_TEXT = 500_000
DECLARED_WITHIN = 100_000


def main(url: str) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    page = sys.stdin.buffer.read()
    if b"<html" not in page[:DECLARED_WITHIN].lower():  # it takes nothing else for a page
        page = b"<html><body>" + page + b"</body></html>"
    text = trafilatura.extract(
        page, url=url, output_format="markdown", include_links=True, include_tables=True, favor_recall=True
    )
    about = trafilatura.extract_metadata(page)
    said = {"title": (about.title if about else None) or "", "text": text or trafilatura.html2txt(page) or ""}
    json.dump({key: value[:MOST_TEXT] for key, value in said.items()}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
