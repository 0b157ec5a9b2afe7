"""A run as one static page: nothing is loaded from elsewhere, so that it can be mailed and kept."""

import base64
import html
from collections.abc import Mapping, Sequence

from lawam_ros.viz.run_plots import STATE_COLOURS

Table = Mapping[str, str]

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 1080px; margin: 2em auto; padding: 0 1em; color: #222; background: #fafaf7 }
h1 { font-size: 1.5em } h2 { font-size: 1.15em; margin-top: 2em } p { max-width: 46em }
table { border-collapse: collapse } td, th { padding: .15em .9em .15em 0; text-align: left; vertical-align: top }
th { font-weight: 600 } img, video { max-width: 100%; display: block } .bad { color: #a02818 }
.key span { padding: .1em .5em; margin-right: .4em } td { font-variant-numeric: tabular-nums; overflow-wrap: anywhere }
"""


def run_page(
    title: str,
    facts: Table,
    figures: Table,
    video: str | None,
    plots: Sequence[tuple[str, str, bytes]],
    stops: Sequence[tuple[str, str, str, str]],
    problems: Sequence[str],
) -> str:
    """HTML. facts: where the run came from. figures: what was measured. video: file beside the page. plots: (heading, explanation, PNG).
    stops: (from, to, state, reason), in words. problems: of the recording."""
    parts = [f"<h1>{_text(title)}</h1>", _table(figures)]
    if problems:
        parts += ["<h2>Problems of the recording</h2>", *(f'<p class="bad">{_text(problem)}</p>' for problem in problems)]
    if video is not None:
        parts += [f'<h2>Film</h2><video controls src="{_text(video)}"></video>']
    for heading, explanation, png in plots:
        picture = base64.b64encode(png).decode()
        parts += [
            f"<h2>{_text(heading)}</h2><p>{_text(explanation)}</p>",
            f'<img alt="{_text(heading)}" src="data:image/png;base64,{picture}">',
        ]
    parts += ["<h2>Holds and stops</h2>", _state_key(), _stops(stops), "<h2>Where it came from</h2>", _table(facts)]
    body = "\n".join(parts)
    head = f'<meta charset="utf-8"><title>{_text(title)}</title><style>{_STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def _text(value: str) -> str:
    return html.escape(value, quote=True)


def _table(rows: Table) -> str:
    cells = "".join(f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in rows.items())
    return f"<table>{cells}</table>"


def _state_key() -> str:
    spans = "".join(f'<span style="background:{colour}">{state}</span>' for state, colour in STATE_COLOURS.items())
    return f'<p class="key">Colours behind the plots: {spans}</p>'


def _stops(stops: Sequence[tuple[str, str, str, str]]) -> str:
    if not stops:
        return "<p>None: the arm was in RUN from the first to the last status.</p>"
    head = "<tr><th>from</th><th>to</th><th>state</th><th>reason</th></tr>"
    rows = "".join("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in stop) + "</tr>" for stop in stops)
    return f"<table>{head}{rows}</table>"
