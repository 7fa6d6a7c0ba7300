"""How the studio looks: one set of colours for light and dark, given to Gradio's components and to our own.

Colour carries meaning. Petrol is clarinet and vibraphone, russet is strings and piano, brass is the gold
standard; everything else is ink on paper. Fonts are the system's, so that no page asks another host for one.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import gradio as gr

SANS = ("ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif")
SERIF = ("Iowan Old Style", "Palatino Linotype", "Palatino", "P052", "Georgia", "serif")
MONO = ("ui-monospace", "SFMono-Regular", "Consolas", "Liberation Mono", "monospace")


@dataclass(frozen=True)
class Palette:
    """The colours of one mode, sRGB.

    Attributes
    ----------
    ground, paper, well : the page, a panel on it, a recess in the panel
    ink, soft : text, and text of less weight
    line, edge : a division, and the border of something that can be operated (3:1 on paper)
    accent, on_accent : what acts, and text upon it
    cv, sp, fg, th, gold : the domains and the gold standard
    bad : errors
    """

    ground: str
    paper: str
    well: str
    ink: str
    soft: str
    line: str
    edge: str
    accent: str
    accent_hover: str
    on_accent: str
    cv: str
    sp: str
    fg: str
    th: str
    gold: str
    bad: str


LIGHT = Palette(
    ground="#f1eee7",
    paper="#fbfaf7",
    well="#f1eee7",
    ink="#1d2328",
    soft="#555e60",
    line="#dcd7cb",
    edge="#878a84",
    accent="#1d5661",
    accent_hover="#14424b",
    on_accent="#ffffff",
    cv="#1d6a74",
    sp="#94441f",
    fg="#2f6a35",
    th="#7a3d79",
    gold="#75600f",
    bad="#a1271d",
)
DARK = Palette(
    ground="#0f1214",
    paper="#16191c",
    well="#0f1214",
    ink="#ece8df",
    soft="#a7aeab",
    line="#2b3134",
    edge="#6d7574",
    accent="#74bcc0",
    accent_hover="#93cfd2",
    on_accent="#0c1517",
    cv="#6cbbbf",
    sp="#e39a72",
    fg="#8fc58b",
    th="#d3a0cf",
    gold="#d9bf7c",
    bad="#f2998a",
)


def head(title: str, description: str, *, styles: Sequence[str] = ("/ui/studio.css",)) -> str:
    """What a page has in its head: title and description where it has them, icon, colours and style sheets."""
    words = f'<title>{title}</title><meta name="description" content="{description}">' if title else ""
    sheets = "".join(f'<link rel="stylesheet" href="{style}">' for style in styles)
    return f'{words}<link rel="icon" href="/ui/icon.svg" type="image/svg+xml"><style>{tokens()}</style>{sheets}'


def tokens() -> str:
    """The colours as CSS custom properties, `--ms-ground` and so on."""

    def block(selector: str, palette: Palette) -> str:
        colours = "".join(f"--ms-{name.replace('_', '-')}:{colour};" for name, colour in asdict(palette).items())
        return f"{selector}{{{colours}}}"

    fonts = ";".join(
        f"--ms-{name}:{','.join(repr(font) if ' ' in font else font for font in family)}"
        for name, family in (("sans", SANS), ("serif", SERIF), ("mono", MONO))
    )
    return f":root{{{fonts}}}{block(':root', LIGHT)}{block('.dark', DARK)}"


def theme() -> gr.themes.Base:
    """Gradio's theme in these colours."""
    made = gr.themes.Base(
        font=list(SANS),
        font_mono=list(MONO),
        radius_size=gr.themes.sizes.radius_md,
        spacing_size=gr.themes.sizes.spacing_md,
        text_size=gr.themes.sizes.text_md,
    )
    colours = {
        "body_background_fill": "ground",
        "body_text_color": "ink",
        "body_text_color_subdued": "soft",
        "background_fill_primary": "paper",
        "background_fill_secondary": "paper",
        "border_color_primary": "line",
        "border_color_accent": "accent",
        "color_accent_soft": "well",
        "link_text_color": "accent",
        "link_text_color_hover": "accent_hover",
        "link_text_color_active": "accent",
        "link_text_color_visited": "accent",
        "block_background_fill": "paper",
        "block_border_color": "line",
        "block_info_text_color": "soft",
        "block_label_background_fill": "paper",
        "block_label_text_color": "ink",
        "block_title_text_color": "ink",
        "accordion_text_color": "ink",
        "checkbox_background_color": "paper",
        "checkbox_background_color_focus": "paper",
        "checkbox_background_color_hover": "well",
        "checkbox_background_color_selected": "accent",
        "checkbox_border_color": "edge",
        "checkbox_border_color_focus": "accent",
        "checkbox_border_color_hover": "accent",
        "checkbox_border_color_selected": "accent",
        "checkbox_label_background_fill": "paper",
        "checkbox_label_background_fill_hover": "well",
        "checkbox_label_background_fill_selected": "paper",
        "checkbox_label_border_color": "edge",
        "checkbox_label_border_color_hover": "accent",
        "checkbox_label_border_color_selected": "accent",
        "checkbox_label_text_color": "ink",
        "checkbox_label_text_color_selected": "ink",
        "error_background_fill": "paper",
        "error_border_color": "bad",
        "error_text_color": "bad",
        "error_icon_color": "bad",
        "input_background_fill": "paper",
        "input_background_fill_focus": "paper",
        "input_border_color": "edge",
        "input_border_color_focus": "accent",
        "input_placeholder_color": "soft",
        "loader_color": "accent",
        "stat_background_fill": "accent",
        "slider_color": "accent",
        "button_primary_background_fill": "accent",
        "button_primary_background_fill_hover": "accent_hover",
        "button_primary_border_color": "accent",
        "button_primary_border_color_hover": "accent_hover",
        "button_primary_text_color": "on_accent",
        "button_secondary_background_fill": "paper",
        "button_secondary_background_fill_hover": "well",
        "button_secondary_border_color": "edge",
        "button_secondary_border_color_hover": "accent",
        "button_secondary_text_color": "ink",
    }
    light, dark = asdict(LIGHT), asdict(DARK)
    settings = {name: light[colour] for name, colour in colours.items()}
    settings |= {f"{name}_dark": dark[colour] for name, colour in colours.items()}
    return made.set(
        **settings,
        color_accent=LIGHT.accent,
        block_shadow="none",
        block_border_width="0px",
        block_padding="0px",
        block_title_text_weight="600",
        button_primary_shadow="none",
        button_secondary_shadow="none",
        button_border_width="1px",
        checkbox_label_shadow="none",
        input_shadow="none",
        input_shadow_focus="none",
    )
