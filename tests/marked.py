"""The texts of the sources: those that are marked for translation, and those that should be."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from django.template import Template
from django.templatetags.i18n import BlockTranslateNode, TranslateNode

import django_orq

PACKAGE = Path(django_orq.__file__).parent
Message = tuple[str | None, str, str | None]
"""Context, text, plural."""

_CONTEXT, _SINGULAR, _PLURAL = "context", "singular", "plural"
_MARKERS = {
    **dict.fromkeys(("gettext", "gettext_lazy", "gettext_noop", "marked"), (_SINGULAR,)),
    **dict.fromkeys(("ngettext", "ngettext_lazy"), (_SINGULAR, _PLURAL)),
    **dict.fromkeys(("pgettext", "pgettext_lazy"), (_CONTEXT, _SINGULAR)),
    **dict.fromkeys(("npgettext", "npgettext_lazy"), (_CONTEXT, _SINGULAR, _PLURAL)),
}
_SHOWN = frozenset(
    {
        "default_detail",
        "description",
        "empty_label",
        "help_text",
        "label",
        "reason",
        "remedy",
        "search_help_text",
        "template",
        "text",
        "title",
        "verbose_name",
        "verbose_name_plural",
    }
)
"""Arguments and attributes that are shown to people, were they a single word."""
_SEVERAL_WORDS = re.compile(r"[A-Za-z’']{2,}[,:;]? [(“]?[a-z]+\b")
_WORD = re.compile(r"[A-Za-z]{2,}")
_PLACEHOLDER = re.compile(r"\{[^}]*\}|%\(\w+\)[a-z]")
_SHOWN_ATTRIBUTE = re.compile(r'\b(?:alt|aria-label|placeholder|title)="([^"]*)"')
_TEXT = re.compile(r"(?:^|>)([^<>]*)(?=<|$)")
_NOT_SHOWN = re.compile(
    r"\{% comment %\}.*?\{% endcomment %\}"
    r"|\{% blocktranslate.*?\{% endblocktranslate %\}"
    r"|\{% block bodyclass %\}.*?\{% endblock %\}"
    r"|\{%.*?%\}|\{\{.*?\}\}|&\w+;",
    re.DOTALL,
)
"""Of a template: what is marked, or no text."""
_SCRIPT_TEXT = re.compile(r'"([^"\n]*)"|`([^`]*)`')


@dataclass(frozen=True, kw_only=True)
class Unmarked:
    """A text that nobody could translate."""

    line: int
    of: str
    """The name of the call that it is an argument of, or of the attribute; empty if there is none."""
    text: str


def python_files() -> list[Path]:
    """Those with texts for people; the sandbox and the migrations speak to developers."""
    return [
        path
        for path in sorted(PACKAGE.rglob("*.py"))
        if not {"migrations", "testing"}.intersection(path.relative_to(PACKAGE).parts)
    ]


def template_files() -> list[Path]:
    return sorted((PACKAGE / "templates").rglob("*.html"))


def scripts() -> list[Path]:
    return sorted((PACKAGE / "static").rglob("*.js"))


def marked_in_python(source: str) -> Iterator[Message]:
    tree = ast.parse(source)
    markers = _markers(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in markers:
            texts = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
            given = dict(zip(markers[node.func.id], texts, strict=False))
            if isinstance(given.get(_SINGULAR), str):  # else it was marked where it comes from
                yield given.get(_CONTEXT), given[_SINGULAR], given.get(_PLURAL)


def marked_in_template(source: str) -> Iterator[Message]:
    nodes = Template(source).nodelist
    for node in nodes.get_nodes_by_type(TranslateNode):
        yield None, node.filter_expression.var.literal, None
    for node in nodes.get_nodes_by_type(BlockTranslateNode):
        plural = node.render_token_list(node.plural)[0] if node.plural else None
        yield None, node.render_token_list(node.singular)[0], plural


def unmarked_in_python(source: str) -> Iterator[Unmarked]:
    """Texts of several words, and single ones where people read them, that no marker is around."""
    tree = ast.parse(source)
    yield from _unmarked(tree, markers=frozenset(_markers(tree)), of="", is_shown=False)


def unmarked_in_template(source: str) -> Iterator[Unmarked]:
    markup = _NOT_SHOWN.sub(_blank, source)
    shown = [*_TEXT.finditer(markup), *_SHOWN_ATTRIBUTE.finditer(markup)]
    for found in shown:
        if _WORD.search(found[1]):
            line = markup[: found.start(1)].count("\n") + 1
            yield Unmarked(line=line, of="", text=" ".join(found[1].split()))


def unmarked_in_script(source: str) -> Iterator[Unmarked]:
    code = re.sub(r"(?m)//.*$", "", source)
    for found in _SCRIPT_TEXT.finditer(code):
        text = found[1] or found[2] or ""
        if _SEVERAL_WORDS.search(text):
            yield Unmarked(line=source[: found.start()].count("\n") + 1, of="", text=text)


def _markers(tree: ast.AST) -> dict[str, tuple[str, ...]]:
    """By the names that this module has them under."""
    return {
        alias.asname or alias.name: _MARKERS[alias.name]
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in ("django.utils.translation", "text")
        for alias in node.names
        if alias.name in _MARKERS
    }


def _unmarked(node: ast.AST, *, markers: frozenset[str], of: str, is_shown: bool) -> Iterator[Unmarked]:
    match node:
        case ast.Expr(value=ast.Constant()):  # a docstring
            return
        case ast.Call(func=ast.Name(id=name)) if name in markers:
            return
        case ast.Call(func=ast.Attribute(value=ast.Name(id="logger"))):
            return
        case ast.Call(func=ast.Name(id=name)) | ast.Call(func=ast.Attribute(attr=name)):
            of, is_shown = name, False
        case ast.arg():  # an annotation
            return
        case ast.Dict() | ast.Subscript():
            is_shown = False
        case ast.keyword(arg=name):
            is_shown = name in _SHOWN
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            of, is_shown = name, name in _SHOWN
    text = _text(node)
    if text is None:
        for child in ast.iter_child_nodes(node):
            yield from _unmarked(child, markers=markers, of=of, is_shown=is_shown)
    elif _SEVERAL_WORDS.search(text) or (is_shown and _WORD.search(_PLACEHOLDER.sub("", text))):
        yield Unmarked(line=getattr(node, "lineno", 0), of=of, text=text)


def _text(node: ast.AST) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    return None


def _blank(found: re.Match[str]) -> str:
    """As many lines, and nothing on them."""
    return "\n" * found[0].count("\n")
